// Secret keys, public keys and signatures: accepted text is written back unchanged, and error
// messages never contain the text.
#include "common/nix/keys.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "check.hpp"
#include "common/base/error.hpp"

using namespace nixbuild;
using namespace nixbuild::nix;

namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::string_view(" \t\r\n").find(text.back()) != std::string_view::npos)
    text.remove_suffix(1);
  return text;
}

void secret_key(std::string_view text) try {
  const SecretKey key = SecretKey::parse(text);
  CHECK(key.to_string() == trimmed(text));
  const PublicKey public_key = key.public_key();
  CHECK(PublicKey::parse(public_key.to_string()) == public_key);
  CHECK(public_key.verify(text, key.sign(text)));
} catch (const FormatError&) {
}

void public_key(std::string_view text) try {
  const PublicKey key = PublicKey::parse(text);
  CHECK(key.to_string() == trimmed(text));
  CHECK(!key.verify("message", text));
} catch (const FormatError&) {
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  secret_key(text);
  public_key(text);
  static const PublicKey known =
      PublicKey::parse("test-1:Ppfs4u4Zi77ZguR6GbdFlHqFfYm99VHew4xO33MVXrM=");
  // The corpus has this key's signature of "message"; no other one may be accepted.
  if (known.verify("message", text))
    CHECK(text ==
          "test-1:e/w2mSS+10wCQ3eOSqkS6MeR/Kszx9Nqt9PJ+IQt5Gx7/DbHB2tlK92Ke+6XubXIp1kI0j/"
          "vPlFBcYnMq4spDA==");
  return 0;
}
