// Nix's base-32: the alphabet without e, o, u and t, the least significant digit last.
// Source: the Nix manual, "Store path" (base-32 as used in store paths and hashes).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nixbuild::nix {

bool is_base32_char(char c) noexcept;

// The number of characters that encode `byte_count` bytes.
constexpr std::size_t base32_length(std::size_t byte_count) noexcept {
  return byte_count == 0 ? 0 : (byte_count * 8 - 1) / 5 + 1;
}

std::string base32_encode(std::span<const std::uint8_t> bytes);
void append_base32(std::string& out, std::span<const std::uint8_t> bytes);

// Nothing if `text` has a character outside the alphabet, or is not the encoding of a whole number
// of bytes (its unused bits are not zero).
std::optional<std::vector<std::uint8_t>> base32_decode(std::string_view text);
// The same for a known number of bytes. False, with `bytes` undefined, if `text` is not the
// encoding of exactly that many.
bool base32_decode_into(std::string_view text, std::span<std::uint8_t> bytes) noexcept;

}  // namespace nixbuild::nix
