#include "common/nix/keys.hpp"

#include <doctest/doctest.h>

#include "common/base/error.hpp"

using namespace nixbuild::nix;

namespace {

// Made by `nix-store --generate-binary-cache-key test-1`.
const std::string secret_text =
    "test-1:BwM6i37RLujVeLhhztxAaxSyKUTZGbll0Fg85hA0Fck+l+zi7hmLvtmC5HoZt0WUeoV9ib31Ud7DjE7fcxVesw"
    "==";
const std::string public_text = "test-1:Ppfs4u4Zi77ZguR6GbdFlHqFfYm99VHew4xO33MVXrM=";

}  // namespace

TEST_CASE("Nix's key files are read and written back unchanged") {
  CHECK(SecretKey::parse(secret_text).to_string() == secret_text);
  CHECK(PublicKey::parse(public_text).to_string() == public_text);
  CHECK(SecretKey::parse(secret_text).public_key() == PublicKey::parse(public_text));
  CHECK(SecretKey::parse(secret_text + "\n").name() == "test-1");
  CHECK(PublicKey::parse(public_text + " \r\n").name() == "test-1");
  CHECK(PublicKey::parse("cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=").name() ==
        "cache.nixos.org-1");
}

TEST_CASE("a fingerprint is the hash of the key alone") {
  const std::string fingerprint = "SHA256:vnU5CGOlLn2yk2vJ0+i03/QScHH2pKLXt/bVwnQ2dMw";
  CHECK(PublicKey::parse(public_text).fingerprint() == fingerprint);
  CHECK(PublicKey::parse("other" + public_text.substr(4)).fingerprint() == fingerprint);
}

TEST_CASE("a signature verifies with its own key, message and name only") {
  const SecretKey secret = SecretKey::parse(secret_text);
  const PublicKey key = secret.public_key();
  const std::string signature = secret.sign("message");
  CHECK(signature.starts_with("test-1:"));
  CHECK(key.verify("message", signature));
  CHECK_FALSE(key.verify("messagE", signature));
  CHECK_FALSE(key.verify("", signature));
  CHECK_FALSE(SecretKey::generate("test-1").public_key().verify("message", signature));
  CHECK_FALSE(key.verify("message", "test-2" + signature.substr(6)));
  CHECK_FALSE(key.verify("message", signature.substr(7)));
  CHECK_FALSE(key.verify("message", signature + "A"));
  CHECK_FALSE(key.verify("message", signature.substr(0, signature.size() - 1)));
  CHECK_FALSE(key.verify("message", ""));
  std::string changed = signature;
  changed[20] = changed[20] == 'A' ? 'B' : 'A';
  CHECK_FALSE(key.verify("message", changed));
}

TEST_CASE("a generated key is new, complete and readable again") {
  const SecretKey key = SecretKey::generate("cache.example.org-1");
  CHECK(key.name() == "cache.example.org-1");
  CHECK(key.to_string() != SecretKey::generate("cache.example.org-1").to_string());
  const SecretKey again = SecretKey::parse(key.to_string());
  CHECK(again.public_key() == key.public_key());
  CHECK(key.public_key().verify("", again.sign("")));
  const SecretKey copy = again;
  CHECK(copy.to_string() == key.to_string());
}

TEST_CASE("names that no key may have are refused") {
  for (const std::string name : {"", "a:b", "a b", "a\n", " a", "a\t", "\x7f"}) {
    CAPTURE(name);
    CHECK_THROWS_AS(SecretKey::generate(name), nixbuild::UsageError);
  }
  CHECK_THROWS_AS(SecretKey::parse(":" + secret_text.substr(7)), nixbuild::FormatError);
  CHECK_THROWS_AS(PublicKey::parse("a b:" + public_text.substr(7)), nixbuild::FormatError);
}

TEST_CASE("malformed keys are refused, and no message holds their content") {
  std::string mixed_halves = secret_text;
  mixed_halves[10] = mixed_halves[10] == 'A' ? 'B' : 'A';
  for (const std::string& text :
       {std::string(), std::string("test-1"), std::string("test-1:"), secret_text.substr(7),
        public_text, secret_text.substr(0, 80), secret_text + "AAAA", "x" + secret_text + "x",
        secret_text.substr(0, secret_text.size() - 2), mixed_halves,
        secret_text.substr(0, 20) + "\n" + secret_text.substr(20), secret_text.substr(0, 20) + "*",
        "\n" + secret_text}) {
    CAPTURE(text);
    CHECK_THROWS_AS(SecretKey::parse(text), nixbuild::FormatError);
    try {
      SecretKey::parse(text);
    } catch (const nixbuild::FormatError& error) {
      for (std::size_t i = 7; i + 8 < text.size(); ++i)
        CHECK(std::string(error.what()).find(text.substr(i, 8)) == std::string::npos);
    }
  }
  for (const std::string& text :
       {std::string(), std::string("test-1"), secret_text, public_text.substr(7),
        public_text.substr(0, 50), public_text + "=", public_text.substr(0, 48) + "A=="}) {
    CAPTURE(text);
    CHECK_THROWS_AS(PublicKey::parse(text), nixbuild::FormatError);
    try {
      PublicKey::parse(text);
    } catch (const nixbuild::FormatError& error) {
      for (std::size_t i = 7; i + 8 < text.size(); ++i)
        CHECK(std::string(error.what()).find(text.substr(i, 8)) == std::string::npos);
    }
  }
}
