// Lock files of flakes: an accepted lock is written as a valid one, also after an input has taken
// over the whole tree of another lock.
#include "common/nix/flake_lock.hpp"

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "check.hpp"
#include "common/base/error.hpp"

using namespace nixbuild;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    nix::FlakeLock lock = nix::FlakeLock::parse(text);
    const nix::FlakeLock other = nix::FlakeLock::parse(lock.text());
    CHECK(other.text() == lock.text());
    for (const auto& name : other.inputs()) {
      const auto& node = *other.input(name);
      nix::origin_of(nix::FlakeLock::original_of(node));
      lock.take(name, nix::FlakeLock::locked_of(node), other, nix::FlakeLock::Below::same_input);
      lock.take(name, nix::FlakeLock::locked_of(node), other, nix::FlakeLock::Below::root);
      nix::FlakeLock::parse(lock.text());
    }
  } catch (const FormatError&) {
  }
  return 0;
}
