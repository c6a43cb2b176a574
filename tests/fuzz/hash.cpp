// SHA-256 in any form, base-32 and store paths: each value has one text, so accepted text equals
// what would be written.
#include "common/nix/hash.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "check.hpp"
#include "common/nix/base32.hpp"
#include "common/nix/store_path.hpp"

using namespace nixbuild::nix;

namespace {

std::string in_lower_case(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto hash = Sha256::parse(text)) {
    const bool base16 = in_lower_case(text) == hash->base16() ||
                        in_lower_case(text) == hash->prefixed_base16();  // in either case
    CHECK(base16 || text == hash->base32() || text == hash->prefixed_base32() ||
          text == hash->sri() || text == "sha256:" + hash->sri().substr(7));
  }
  if (const auto bytes = base32_decode(text)) CHECK(base32_encode(*bytes) == text);
  if (const auto path = StorePath::parse(text)) {
    CHECK(path->base_name() == text);
    CHECK(is_hash_part(path->hash_part()) && !path->name().empty());
    CHECK(StoreDir().parse(StoreDir().print(*path)) == path);
  }
  return 0;
}
