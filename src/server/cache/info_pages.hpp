// What serve-cache says of itself: /nix-cache-info for Nix, / for people.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/nix/keys.hpp"
#include "common/nix/store_path.hpp"

namespace nixbuild::cache {

// Source: the Nix manual, "Binary cache". Nix ignores what it does not know, so the keys can stand
// here too, a "PublicKey:" line each.
std::string render_nix_cache_info(const nix::StoreDir& store_dir, int priority,
                                  const std::vector<nix::PublicKey>& keys);

// The lines to copy to use this cache, as a page. `url`: the cache's, as its clients reach it.
std::string render_front_page(std::string_view url, const nix::StoreDir& store_dir,
                              const std::vector<nix::PublicKey>& keys);

// `text` so that it stands for itself in HTML, in attributes too.
std::string escape_html(std::string_view text);

}  // namespace nixbuild::cache
