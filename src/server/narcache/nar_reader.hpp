// Reads the NAR of a store path from disk and checks it against the store's database.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>

#include "common/base/error.hpp"
#include "common/nix/hash.hpp"

namespace nixbuild::narcache {

// The path's NAR does not match the registered one.
class DamagedPath : public Error {
 public:
  using Error::Error;
};

struct NarInput {
  std::filesystem::path path;       // its actual location
  std::uint64_t size = 0;           // bytes
  std::optional<nix::Sha256> hash;  // if absent, only the size is checked
};

// Passes the NAR to `sink` in pieces. Only when it returns is all of the NAR known to be correct.
// Throws SystemError (ENOENT: the path was deleted), DamagedPath, and exceptions from `sink`.
void read_nar(const NarInput& input, const std::function<void(std::string_view bytes)>& sink);

}  // namespace nixbuild::narcache
