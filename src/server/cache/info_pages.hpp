// Pages about the cache itself: /nix-cache-info for Nix, / for people.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/nix/keys.hpp"
#include "common/nix/store_path.hpp"

namespace nixbuild::cache {

// Source: the Nix manual, "Binary cache". Nix ignores unknown fields, so the keys are also listed,
// each on a "PublicKey:" line.
std::string render_nix_cache_info(const nix::StoreDir& store_dir, int priority,
                                  const std::vector<nix::PublicKey>& keys);

// A page with the configuration lines to use this cache. `url`: the cache's URL, as seen by its
// clients.
std::string render_front_page(std::string_view url, const nix::StoreDir& store_dir,
                              const std::vector<nix::PublicKey>& keys);

// The same for a cache without keys, which serves what `signed_by` have signed.
std::string render_keyless_front_page(std::string_view url, const nix::StoreDir& store_dir,
                                      const std::vector<nix::PublicKey>& signed_by);

}  // namespace nixbuild::cache
