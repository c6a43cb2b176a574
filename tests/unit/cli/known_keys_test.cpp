#include "cli/machine/known_keys.hpp"

#include <doctest/doctest.h>

#include "cli/bootstrap/server_key.hpp"

using namespace nixbuild;
using namespace nixbuild::cli;

namespace {

nix::PublicKey fresh_key(const char* name) {
  return nix::SecretKey::generate(name).public_key();
}

const char* url = "http://build-server:5000";

}  // namespace

TEST_CASE("keys are kept by cache") {
  const nix::PublicKey a = fresh_key("a-1");
  const nix::PublicKey b = fresh_key("b-1");
  std::string text = with_keys("", url, {a});
  text = with_keys(text, "http://other:5000", {b});
  CHECK(keys_of(text, url) == PublicKeys{a});
  CHECK(keys_of(text, "http://other:5000") == PublicKeys{b});
  text = with_keys(text, url, {b, a});
  CHECK(keys_of(text, url) == PublicKeys{b, a});
  CHECK(keys_of(text, "http://other:5000") == PublicKeys{b});
  CHECK(keys_of(text, "http://third:5000").empty());
}

TEST_CASE("damaged lines are passed over and kept") {
  const nix::PublicKey key = fresh_key("a-1");
  const std::string text = "http://build-server:5000 nonsense\n\n# a comment\n";
  CHECK(keys_of(text, url).empty());
  CHECK(with_keys("# a comment\n", url, {key}).starts_with("# a comment\n"));
}

TEST_CASE("a key that is replaced is a change, one that joins is none") {
  const nix::PublicKey a = fresh_key("a-1");
  const nix::PublicKey other_a = fresh_key("a-1");
  const nix::PublicKey b = fresh_key("b-1");
  CHECK(key_changes({}, {a}).empty());
  CHECK(key_changes({a}, {a}).empty());
  CHECK(key_changes({a}, {a, b}).empty());
  CHECK(key_changes({a, b}, {b}).empty());
  CHECK(key_changes({a, other_a}, {a}).empty());

  const auto same_name = key_changes({a}, {other_a});
  REQUIRE(same_name.size() == 1);
  CHECK(same_name.front().before == a);
  CHECK(same_name.front().now == other_a);
  CHECK(key_changes({a}, {b}).size() == 1);
  // A known key besides it does not excuse a replaced one.
  CHECK(key_changes({a, b}, {other_a, b}).size() == 1);
}

TEST_CASE("keys are found among a Nix file's literals") {
  const nix::PublicKey key = fresh_key("a-1");
  CHECK(keys_in_nix_file("{ publicKey = \"" + key.to_string() + "\"; }") == PublicKeys{key});
  CHECK(keys_in_nix_file("# a \" alone\n{ x = \"" + key.to_string() + "\"; y = \"z\"; }") ==
        PublicKeys{key});
  CHECK(keys_in_nix_file("{ x = \"a\"; }").empty());
  CHECK(keys_in_nix_file("\"").empty());
  CHECK(keys_in_nix_file("").empty());
}
