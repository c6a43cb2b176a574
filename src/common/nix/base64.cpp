#include "common/nix/base64.hpp"

#include <sodium.h>

#include <algorithm>
#include <cstddef>

namespace nixbuild::nix {

namespace {
constexpr int variant = sodium_base64_VARIANT_ORIGINAL;
}

void append_base64(std::string& out, std::span<const std::uint8_t> bytes) {
  const std::size_t begin = out.size();
  const std::size_t size = sodium_base64_ENCODED_LEN(bytes.size(), variant);  // with a final NUL
  out.resize(begin + size);
  sodium_bin2base64(out.data() + begin, size, bytes.data(), bytes.size(), variant);
  out.pop_back();
}

bool base64_decode_into(std::string_view text, std::span<std::uint8_t> bytes) noexcept {
  // libsodium 1.0.18 accepts some bytes above 0x7f as digits.
  if (std::any_of(text.begin(), text.end(), [](char c) { return (c & 0x80) != 0; })) return false;
  if (bytes.empty()) return text.empty();  // libsodium requires an output buffer
  std::size_t size = 0;
  const char* end = nullptr;
  return sodium_base642bin(bytes.data(), bytes.size(), text.data(), text.size(), nullptr, &size,
                           &end, variant) == 0 &&
         size == bytes.size() && end == text.data() + text.size();
}

}  // namespace nixbuild::nix
