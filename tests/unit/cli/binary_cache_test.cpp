#include "cli/machine/binary_cache.hpp"

#include <doctest/doctest.h>

#include "common/base/error.hpp"

using namespace nixbuild;
using namespace nixbuild::cli;

TEST_CASE("what a cache says of itself") {
  const nix::PublicKey key = nix::SecretKey::generate("a-1").public_key();
  const CacheInfo info = parse_cache_info(
      "StoreDir: /nix/store\r\nWantMassQuery: 1\nPriority: 30\nPublicKey: " + key.to_string() +
      "\n");
  CHECK(info.store_dir == "/nix/store");
  CHECK(info.keys == PublicKeys{key});
  CHECK(parse_cache_info("StoreDir: /nix/store\n").keys.empty());
}

TEST_CASE("a malformed key or store directory is refused") {
  CHECK_THROWS_AS(parse_cache_info("StoreDir: /nix/store\nPublicKey: a-1:short\n"), FormatError);
  CHECK_THROWS_AS(parse_cache_info("StoreDir: /nix/store\nPublicKey:\n"), FormatError);
  CHECK_THROWS_AS(parse_cache_info("StoreDir: nix/../store\n"), FormatError);
  CHECK_THROWS_AS(parse_cache_info("Priority: 30\n"), FormatError);
  CHECK_THROWS_AS(parse_cache_info("<html>log in: here</html>"), FormatError);
}

TEST_CASE("HTTP dates") {
  using namespace std::chrono;
  CHECK(net::parse_http_date("Wed, 15 Jan 2025 14:30:00 GMT") ==
        sys_seconds(sys_days(year(2025) / 1 / 15) + 14h + 30min));
  CHECK_FALSE(net::parse_http_date("").has_value());
  CHECK_FALSE(net::parse_http_date("now").has_value());
}

TEST_CASE("the signer is the key whose signature verifies") {
  const nix::SecretKey secret = nix::SecretKey::generate("a-1");
  const nix::PublicKey other = nix::SecretKey::generate("a-1").public_key();
  CacheInfo info;
  info.store_dir = "/nix/store";
  nix::NarInfo narinfo{
      {*nix::StorePath::parse("00000000000000000000000000000000-x"), {}, 120, {}, {}, {}, {}},
      {},
      {},
      {},
      {}};
  CHECK_FALSE(signer_of(info, narinfo, {secret.public_key()}).has_value());
  narinfo.info.signatures = {"b-1:nonsense",
                             secret.sign(nix::fingerprint(nix::StoreDir(), narinfo.info))};
  CHECK(signer_of(info, narinfo, {other, secret.public_key()}) == secret.public_key());
  CHECK_FALSE(signer_of(info, narinfo, {other}).has_value());
  narinfo.info.nar_size = 121;
  CHECK_FALSE(signer_of(info, narinfo, {secret.public_key()}).has_value());
}

TEST_CASE("paths that are worth asking for begin with those that are known") {
  CacheInfo info;
  info.store_dir = "/no/such/store";
  CHECK(sample_candidates(info, {"/no/such/store/00000000000000000000000000000000-x",
                                 "/nix/store/11111111111111111111111111111111-y", "nonsense"}) ==
        std::vector<std::string>{"00000000000000000000000000000000"});
}
