// NAR names in URLs: those we advertise, and those advertised by older versions and other servers,
// which clients remember for a month.
//
//   NARHASH-RECIPE.nar.zst, .xz      with ?hash=HASHPART as we advertise it, or without
//   NARHASH.nar                      likewise
//   NARHASH.nar[.zst|.xz]
//   HASHPART-NARHASH.nar[.zst|.xz]
//   HASHPART.nar[.zst|.xz]
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/compress/compression.hpp"
#include "common/nix/hash.hpp"

namespace nixbuild::cache {

struct NarUrl {
  std::string hash_part;  // of a store path, or empty
  std::optional<nix::Sha256> nar_hash;
  compress::Compression compression = compress::Compression::none;
  std::optional<compress::Recipe> recipe;  // of the file; its compression is `compression`
};

// `name`: the part after "/nar/". `hash_parameter`: the query's "hash", or empty. Returns nothing
// if the name has none of these forms.
std::optional<NarUrl> parse_nar_url(std::string_view name, std::string_view hash_parameter);

// The URL for a narinfo, relative to the cache's URL.
std::string render_nar_url(const nix::Sha256& nar_hash, const compress::Recipe& recipe,
                           std::string_view hash_part);

}  // namespace nixbuild::cache
