#include "common/nix/base32.hpp"

#include <algorithm>
#include <array>

namespace nixbuild::nix {

namespace {

constexpr std::string_view alphabet = "0123456789abcdfghijklmnpqrsvwxyz";
constexpr std::uint8_t no_digit = 0xff;

constexpr std::array<std::uint8_t, 256> digit_values = [] {
  std::array<std::uint8_t, 256> values{};
  values.fill(no_digit);
  for (std::size_t i = 0; i < alphabet.size(); ++i)
    values[static_cast<unsigned char>(alphabet[i])] = static_cast<std::uint8_t>(i);
  return values;
}();

// Five bytes are exactly eight digits, so encoding and decoding work on groups of that size.
constexpr std::size_t group_bytes = 5;
constexpr std::size_t group_digits = 8;

}  // namespace

bool is_base32_char(char c) noexcept {
  return digit_values[static_cast<unsigned char>(c)] != no_digit;
}

void append_base32(std::string& out, std::span<const std::uint8_t> bytes) {
  const std::size_t length = base32_length(bytes.size());
  out.resize(out.size() + length);
  char* end = out.data() + out.size();
  std::size_t left = length;
  for (std::size_t begin = 0; begin < bytes.size(); begin += group_bytes) {
    std::uint64_t group = 0;
    const std::size_t count = std::min(group_bytes, bytes.size() - begin);
    for (std::size_t i = 0; i < count; ++i)
      group |= static_cast<std::uint64_t>(bytes[begin + i]) << (8 * i);
    const std::size_t digits = std::min(group_digits, left);
    for (std::size_t i = 0; i < digits; ++i, group >>= 5)
      *--end = alphabet[group & 31];
    left -= digits;
  }
}

std::string base32_encode(std::span<const std::uint8_t> bytes) {
  std::string text;
  append_base32(text, bytes);
  return text;
}

bool base32_decode_into(std::string_view text, std::span<std::uint8_t> bytes) noexcept {
  if (text.size() != base32_length(bytes.size())) return false;
  const char* end = text.data() + text.size();
  std::size_t left = text.size();
  for (std::size_t begin = 0; begin < bytes.size(); begin += group_bytes) {
    std::uint64_t group = 0;
    const std::size_t digits = std::min(group_digits, left);
    for (std::size_t i = 0; i < digits; ++i) {
      const std::uint8_t value = digit_values[static_cast<unsigned char>(*--end)];
      if (value == no_digit) return false;
      group |= static_cast<std::uint64_t>(value) << (5 * i);
    }
    left -= digits;
    const std::size_t count = std::min(group_bytes, bytes.size() - begin);
    for (std::size_t i = 0; i < count; ++i, group >>= 8)
      bytes[begin + i] = static_cast<std::uint8_t>(group & 0xff);
    if (group != 0) return false;  // unused bits of the last group
  }
  return true;
}

std::optional<std::vector<std::uint8_t>> base32_decode(std::string_view text) {
  std::vector<std::uint8_t> bytes(text.size() / 8 * 5 + text.size() % 8 * 5 / 8);
  if (!base32_decode_into(text, bytes)) return std::nullopt;
  return bytes;
}

}  // namespace nixbuild::nix
