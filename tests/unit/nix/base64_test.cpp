#include "common/nix/base64.hpp"

#include <doctest/doctest.h>

#include <array>
#include <vector>

using namespace nixbuild::nix;

namespace {

std::string encode(std::string_view text) {
  std::string out = "x:";
  append_base64(out, std::vector<std::uint8_t>(text.begin(), text.end()));
  return out;
}

bool decodes(std::string_view text, std::size_t size) {
  std::vector<std::uint8_t> bytes(size);
  return base64_decode_into(text, bytes);
}

}  // namespace

TEST_CASE("base64 is that of RFC 4648") {
  CHECK(encode("") == "x:");
  CHECK(encode("f") == "x:Zg==");
  CHECK(encode("fo") == "x:Zm8=");
  CHECK(encode("foo") == "x:Zm9v");
  CHECK(encode("foob") == "x:Zm9vYg==");
  CHECK(encode("fooba") == "x:Zm9vYmE=");
  CHECK(encode("foobar") == "x:Zm9vYmFy");
  CHECK(encode("\xfb\xff") == "x:+/8=");
  std::array<std::uint8_t, 5> bytes{};
  REQUIRE(base64_decode_into("Zm9vYmE=", bytes));
  CHECK(std::string(bytes.begin(), bytes.end()) == "fooba");
  CHECK(decodes("", 0));
}

TEST_CASE("base64 refuses what no encoder writes, and other lengths") {
  CHECK(decodes("Zm8=", 2));
  for (const std::string_view text : {"Zm8", "Zm8==", "Zm9=", "Zm8=x", "Zm8= ", "Zm8=\n", "Z m8=",
                                      "=Zm8", "Zm-=", "Zm_=", "Zm*=", "", "Zg==", "Zm9v"}) {
    CAPTURE(text);
    CHECK_FALSE(decodes(text, 2));
  }
  for (int c = 0; c < 256; ++c) {
    const std::string text = "Zm" + std::string(1, static_cast<char>(c)) + "v";
    const bool digit = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                       c == '+' || c == '/';
    CAPTURE(c);
    CHECK(decodes(text, 3) == digit);
  }
}
