#include "server/cache/nar_url.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace nixbuild;
using namespace nixbuild::cache;

namespace {

const std::string nar_hash = "1gp8dccg6s4hm29d1v3mk0jyqy3ffjl1yyyb7d1blncx2h6g4fwn";
const std::string hash_part = "a3igw7z00yr0l7xscczsw50m6clmhi8k";

}  // namespace

TEST_CASE("the form that older versions advertised") {
  const auto url = parse_nar_url(nar_hash + ".nar.zst", hash_part);
  REQUIRE(url);
  CHECK(url->hash_part == hash_part);
  CHECK(url->nar_hash->base32() == nar_hash);
  CHECK(url->compression == compress::Compression::zstd);
  CHECK_FALSE(url->recipe);
}

TEST_CASE("a URL that names its recipe") {
  const compress::Recipe recipe{compress::Compression::zstd, 3, 10504};
  const auto hash = nix::Sha256::parse("sha256:" + nar_hash);
  CHECK(render_nar_url(*hash, recipe, hash_part) ==
        "nar/" + nar_hash + "-z3v10504.nar.zst?hash=" + hash_part);
  CHECK(render_nar_url(*hash, {}, hash_part) == "nar/" + nar_hash + ".nar?hash=" + hash_part);
  const auto url = parse_nar_url(nar_hash + "-z3v10504.nar.zst", hash_part);
  REQUIRE(url);
  CHECK(url->recipe == recipe);
  CHECK(url->nar_hash == hash);
  for (const char* tag : {"-z3v10504.nar.xz", "-z3v10504.nar", "-x6v1.nar.zst", "-.nar.zst",
                          "-z3.nar.zst", "-z3v10504-z3v10504.nar.zst"}) {
    CHECK_FALSE(parse_nar_url(nar_hash + tag, hash_part));
  }
}

TEST_CASE("the forms that clients remember from elsewhere") {
  const auto bare = parse_nar_url(nar_hash + ".nar", "");
  REQUIRE(bare);
  CHECK(bare->hash_part.empty());
  CHECK(bare->nar_hash->base32() == nar_hash);
  CHECK(bare->compression == compress::Compression::none);

  const auto both = parse_nar_url(hash_part + "-" + nar_hash + ".nar.xz", "");
  REQUIRE(both);
  CHECK(both->hash_part == hash_part);
  CHECK(both->nar_hash->base32() == nar_hash);
  CHECK(both->compression == compress::Compression::xz);

  const auto part = parse_nar_url(hash_part + ".nar", "");
  REQUIRE(part);
  CHECK(part->hash_part == hash_part);
  CHECK_FALSE(part->nar_hash);
}

TEST_CASE("anything else is no NAR") {
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".nar"), nar_hash, nar_hash + ".",
        nar_hash + ".nar.bz2", nar_hash + ".nar.zst.zst", nar_hash + ".narx",
        nar_hash.substr(1) + ".nar", nar_hash + "0.nar", hash_part.substr(1) + ".nar",
        hash_part + "-.nar", hash_part + "-" + hash_part + ".nar",
        "e" + nar_hash.substr(1) + ".nar", std::string("z") + nar_hash.substr(1) + ".nar",
        "E" + hash_part.substr(1) + ".nar", hash_part + nar_hash + ".nar",
        std::string(10'000, 'a') + ".nar"}) {
    CAPTURE(name);
    CHECK_FALSE(parse_nar_url(name, ""));
  }
  CHECK_FALSE(parse_nar_url(nar_hash + ".nar", "short"));
  CHECK_FALSE(parse_nar_url(nar_hash + ".nar", "e" + hash_part.substr(1)));
}
