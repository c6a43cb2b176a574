// narinfo: the description of a path in a binary cache.
// Source: the Nix manual, "Binary cache / narinfo".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/nix/path_info.hpp"

namespace nixbuild::nix {

struct NarInfo {
  PathInfo info;
  std::string url;          // relative to the cache's root
  std::string compression;  // "none", "xz", "zstd", …
  std::optional<Sha256> file_hash;
  std::optional<std::uint64_t> file_size;  // bytes

  friend bool operator==(const NarInfo&, const NarInfo&) = default;
};

// The text form, with fields in Nix's order.
std::string render_narinfo(const StoreDir& store_dir, const NarInfo& narinfo);

// The JSON form, one object: what `nix path-info --json` of Nix 2.26 prints for a path in a binary
// cache, with the fields that other versions add: `path` (2.8), `storeDir` and `version` (1, since
// 2.33). Fields that are unknown in a cache have Nix's values: `registrationTime` null, `ultimate`
// false. Source: the Nix manual, "Store object info JSON format".
std::string render_narinfo_json(const StoreDir& store_dir, const NarInfo& narinfo);

// Throws FormatError with the line and the problem.
NarInfo parse_narinfo(const StoreDir& store_dir, std::string_view text);

}  // namespace nixbuild::nix
