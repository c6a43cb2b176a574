#include "common/nix/store_path.hpp"

#include <doctest/doctest.h>

#include "common/base/error.hpp"

using namespace nixbuild::nix;

namespace {
const std::string hash_part = "n5wkd9frr45pa74if5gpz9j7mifg27fh";
}

TEST_CASE("a store path has its parts") {
  const auto path = StorePath::parse(hash_part + "-foo-1.2.drv");
  REQUIRE(path);
  CHECK(path->base_name() == hash_part + "-foo-1.2.drv");
  CHECK(path->hash_part() == hash_part);
  CHECK(path->name() == "foo-1.2.drv");
  CHECK(path->is_derivation());
  CHECK_FALSE(StorePath::parse(hash_part + "-foo")->is_derivation());
}

TEST_CASE("names are those that Nix accepts") {
  for (const std::string name :
       {"x", "-", "a-b", "0+1.2_3?4=5", "...", ".a", "..a", ".a-.", "...-x", "-."}) {
    CAPTURE(name);
    CHECK(StorePath::parse(hash_part + "-" + name));
  }
  CHECK(StorePath::parse(hash_part + "-" + std::string(store_path_name_limit, 'x')));
  CHECK_FALSE(StorePath::parse(hash_part + "-" + std::string(store_path_name_limit + 1, 'x')));
  for (const std::string name : {"", ".", "..", ".-", "..-", ".-a", "..-a", "a/b", "a b", "a\n",
                                 "é", "a:b", "a~", "a%", "a*", "a@b"}) {
    CAPTURE(name);
    CHECK_FALSE(StorePath::parse(hash_part + "-" + name));
  }
  CHECK_FALSE(StorePath::parse(hash_part + std::string("-a\0", 3)));
}

TEST_CASE("hash parts are 32 characters of base-32 and a dash") {
  CHECK(is_hash_part(hash_part));
  CHECK_FALSE(is_hash_part(hash_part.substr(1)));
  CHECK_FALSE(is_hash_part(hash_part + "0"));
  CHECK_FALSE(is_hash_part("e" + hash_part.substr(1)));
  CHECK_FALSE(is_hash_part("N" + hash_part.substr(1)));
  CHECK_FALSE(is_hash_part(""));
  CHECK_FALSE(StorePath::parse(""));
  CHECK_FALSE(StorePath::parse(hash_part));
  CHECK_FALSE(StorePath::parse(hash_part + "-"));
  CHECK_FALSE(StorePath::parse(hash_part + "_x"));
  CHECK_FALSE(StorePath::parse("t" + hash_part.substr(1) + "-x"));
}

TEST_CASE("a store directory prints and parses its paths") {
  const StoreDir dir;
  CHECK(dir.path() == "/nix/store");
  const auto path = StorePath::parse(hash_part + "-x");
  CHECK(dir.print(*path) == "/nix/store/" + hash_part + "-x");
  CHECK(dir.parse("/nix/store/" + hash_part + "-x") == path);
  CHECK_FALSE(dir.parse("/nix/store/" + hash_part + "-x/bin"));
  CHECK_FALSE(dir.parse("/nix/store/" + hash_part + "-x/"));
  CHECK_FALSE(dir.parse("/nix/store//" + hash_part + "-x"));
  CHECK_FALSE(dir.parse("/nix/storeX" + hash_part + "-x"));
  CHECK_FALSE(dir.parse("/nix/store"));
  CHECK_FALSE(dir.parse("/nix/store/"));
  CHECK_FALSE(dir.parse(hash_part + "-x"));
  CHECK(StoreDir("/guest/store").parse("/guest/store/" + hash_part + "-x") == path);
}

TEST_CASE("a store directory is absolute and normal") {
  for (const std::string bad : {"", "/", "nix/store", "/nix/store/", "//nix/store", "/nix//store",
                                "/nix/./store", "/nix/../store", "/.", "/nix/.."}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(StoreDir{bad}, nixbuild::UsageError);
  }
  CHECK(StoreDir("/s").path() == "/s");
  CHECK(StoreDir("/.nix/...").path() == "/.nix/...");
}
