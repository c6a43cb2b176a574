#include "common/nix/hash.hpp"

#include <doctest/doctest.h>

using namespace nixbuild::nix;

namespace {

// `nix-hash --type sha256 --flat` of a file that holds "hello", in each form.
constexpr std::string_view hello_base16 =
    "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
constexpr std::string_view hello_base32 = "094qif9n4cq4fdg459qzbhg1c6wywawwaaivx0k0x8xhbyx4vwic";
constexpr std::string_view hello_base64 = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";

}  // namespace

TEST_CASE("SHA-256 is rendered in each form that Nix knows") {
  const Sha256 hash = sha256("hello");
  CHECK(hash.base16() == hello_base16);
  CHECK(hash.base32() == hello_base32);
  CHECK(hash.prefixed_base16() == "sha256:" + std::string(hello_base16));
  CHECK(hash.prefixed_base32() == "sha256:" + std::string(hello_base32));
  CHECK(hash.sri() == "sha256-" + std::string(hello_base64));
}

TEST_CASE("SHA-256 is parsed from each form that Nix knows") {
  const Sha256 hash = sha256("hello");
  CHECK(Sha256::parse(hello_base16) == hash);
  CHECK(Sha256::parse(hello_base32) == hash);
  CHECK(Sha256::parse(hash.prefixed_base16()) == hash);
  CHECK(Sha256::parse(hash.prefixed_base32()) == hash);
  CHECK(Sha256::parse(hash.sri()) == hash);
  CHECK(Sha256::parse("sha256:" + std::string(hello_base64)) == hash);
  CHECK(Sha256::parse("2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824") == hash);
}

TEST_CASE("what is no SHA-256 is not parsed") {
  const std::string base16(hello_base16);
  const std::string base32(hello_base32);
  const std::string base64(hello_base64);
  for (const std::string& text :
       {std::string(), std::string("sha256:"), std::string("sha256-"), base64, "sha256-" + base16,
        "sha256-" + base32, "sha256:" + base16.substr(1), base16 + "0", "sha256:" + base32 + "\n",
        " sha256:" + base32, "sha512:" + base32, "SHA256:" + base32, "sha256:sha256:" + base32,
        "sha256:g" + base16.substr(1), "sha256:e" + base32.substr(1),
        // Unused bits that are not zero: the first base-32 digit has one bit of 256, the last
        // base-64 digit four.
        "sha256:2" + base32.substr(1), "sha256-" + base64.substr(0, 42) + "R=",
        "sha256-" + base64.substr(0, 43), "sha256-" + base64.substr(0, 43) + "A",
        "sha256-" + base64.substr(0, 42) + "==", "sha256-" + base64.substr(0, 41) + "A=="}) {
    CAPTURE(text);
    CHECK_FALSE(Sha256::parse(text));
  }
}

TEST_CASE("a hasher gives the same however its input is cut, and begins anew") {
  Sha256Hasher hasher;
  hasher.update("hel");
  hasher.update("");
  hasher.update("lo");
  CHECK(hasher.finish() == sha256("hello"));
  CHECK(hasher.finish() == sha256(""));
  CHECK(sha256("").base16() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const std::array<std::uint8_t, 3> bytes{'a', 'b', 'c'};
  hasher.update(bytes);
  Sha256Hasher moved = std::move(hasher);
  CHECK(moved.finish().base16() ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
