// What a store records about a valid path.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/nix/hash.hpp"
#include "common/nix/store_path.hpp"

namespace nixbuild::nix {

struct PathInfo {
  StorePath path;
  Sha256 nar_hash;
  std::uint64_t nar_size = 0;         // bytes
  std::vector<StorePath> references;  // sorted by base name, may include `path` itself
  std::optional<StorePath> deriver;
  std::vector<std::string> signatures;  // "NAME:BASE64"
  std::string content_address;          // Nix's `ca` field, empty if absent

  friend bool operator==(const PathInfo&, const PathInfo&) = default;
};

// The text that is signed: "1;<path>;<nar hash>;<nar size>;<references, comma-separated>".
// Source: the Nix manual, "narinfo", Sig.
std::string fingerprint(const StoreDir& store_dir, const PathInfo& info);

}  // namespace nixbuild::nix
