#include "common/base/percent.hpp"

#include <doctest/doctest.h>

using namespace nixbuild;

TEST_CASE("percent-encoding: what is encoded is decoded again") {
  std::string all;
  for (int byte = 0; byte < 256; ++byte)
    all += static_cast<char>(byte);
  std::string decoded;
  CHECK(percent_decode(percent_encode(all), false, decoded));
  CHECK(decoded == all);
  CHECK(percent_encode("a-z_A.Z~0 /%") == "a-z_A.Z~0%20%2F%25");
}

TEST_CASE("percent-encoding: either case of digits, and a plus where it is a space") {
  std::string decoded;
  CHECK(percent_decode("%2f%2F+", false, decoded));
  CHECK(decoded == "//+");
  CHECK(percent_decode("a+b", true, decoded));
  CHECK(decoded == "a b");
}

TEST_CASE("percent-encoding: malformed escapes are refused") {
  std::string decoded;
  for (const char* text : {"%", "%4", "%4g", "%g4", "a%", "%%41", "% 1", "%@1"}) {
    CAPTURE(text);
    CHECK_FALSE(percent_decode(text, false, decoded));
  }
}
