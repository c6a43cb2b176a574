// Reads the NAR of a store path from the disk and holds it against what the store's database says.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>

#include "common/base/error.hpp"
#include "common/nix/hash.hpp"

namespace nixbuild::narcache {

// The path's NAR is not what was registered.
class DamagedPath : public Error {
 public:
  using Error::Error;
};

struct NarInput {
  std::filesystem::path path;       // where it really lies
  std::uint64_t size = 0;           // bytes
  std::optional<nix::Sha256> hash;  // without it only the size is held against what is registered
};

// Gives the NAR to `sink` piece by piece; only its return says that all of it was right. Throws
// SystemError (ENOENT: the path is gone), DamagedPath, and what `sink` throws.
void read_nar(const NarInput& input, const std::function<void(std::string_view bytes)>& sink);

}  // namespace nixbuild::narcache
