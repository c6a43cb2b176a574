#include "common/nix/base32.hpp"

#include <doctest/doctest.h>

#include <array>
#include <random>

using namespace nixbuild::nix;

namespace {

// Digit by digit, as the format defines it: digit n, counted from the end, is bits 5n to 5n+4.
std::string encode_by_definition(const std::vector<std::uint8_t>& bytes) {
  const std::string alphabet = "0123456789abcdfghijklmnpqrsvwxyz";
  std::string text;
  for (std::size_t n = base32_length(bytes.size()); n-- > 0;) {
    unsigned digit = 0;
    for (std::size_t bit = 0; bit < 5; ++bit) {
      const std::size_t at = 5 * n + bit;
      if (at / 8 < bytes.size()) digit |= ((bytes[at / 8] >> (at % 8)) & 1U) << bit;
    }
    text += alphabet[digit];
  }
  return text;
}

}  // namespace

TEST_CASE("base32 encodes as its definition says, and decodes what it encoded") {
  std::mt19937 random(1);
  for (std::size_t size = 0; size < 80; ++size) {
    std::vector<std::uint8_t> bytes(size);
    for (auto& byte : bytes)
      byte = static_cast<std::uint8_t>(random());
    const std::string text = base32_encode(bytes);
    CAPTURE(size);
    CHECK(text.size() == base32_length(size));
    CHECK(text == encode_by_definition(bytes));
    CHECK(base32_decode(text) == bytes);
  }
}

TEST_CASE("base32 appends behind what is there") {
  std::string text = "sha256:";
  append_base32(text, std::vector<std::uint8_t>{0xff});
  CHECK(text == "sha256:7z");
}

TEST_CASE("base32 refuses what no encoder writes") {
  CHECK_FALSE(base32_decode("e0"));  // letters that the alphabet omits
  CHECK_FALSE(base32_decode("o0"));
  CHECK_FALSE(base32_decode("u0"));
  CHECK_FALSE(base32_decode("t0"));
  CHECK_FALSE(base32_decode("A0"));
  CHECK_FALSE(base32_decode("0 "));
  CHECK_FALSE(base32_decode("\xff\xff"));
  CHECK_FALSE(base32_decode("0"));    // no number of bytes takes one digit
  CHECK_FALSE(base32_decode("000"));  // nor three
  CHECK_FALSE(base32_decode("80"));   // bit 8 of one byte
  CHECK(base32_decode("7z") == std::vector<std::uint8_t>{0xff});
  CHECK(base32_decode("")->empty());
}

TEST_CASE("base32 decodes into a place of known size") {
  std::array<std::uint8_t, 2> two{};
  CHECK_FALSE(base32_decode_into("7z", two));
  CHECK_FALSE(base32_decode_into("2000", two));  // bit 16 of two bytes
  CHECK(base32_decode_into("1000", two));
  CHECK(two == std::array<std::uint8_t, 2>{0x00, 0x80});
  std::array<std::uint8_t, 1> one{};
  CHECK(base32_decode_into("7z", one));
  CHECK(one[0] == 0xff);
}

TEST_CASE("the characters of base32 are those of its alphabet") {
  std::string characters;
  for (int c = 0; c < 256; ++c)
    if (is_base32_char(static_cast<char>(c))) characters += static_cast<char>(c);
  CHECK(characters == "0123456789abcdfghijklmnpqrsvwxyz");
}
