#include "server/proxy/file_check.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <string_view>

#include "common/compress/compressor.hpp"

using namespace nixbuild;
using namespace nixbuild::proxy;

namespace {

const std::string sample_nar(100'000, 'n');

std::string compressed(compress::Compression compression) {
  std::string bytes;
  compress::make_compressor({compression, 3, 0}, sample_nar.size(), 1, [&](std::string_view piece) {
    bytes += piece;
  })->write(sample_nar);
  return bytes;
}

nix::NarInfo narinfo_with(const std::string& compression) {
  nix::NarInfo made{{*nix::StorePath::parse("4bx8lyzls1zk8zh96bapxa24vxbcyb7y-a"),
                     nix::sha256(sample_nar),
                     sample_nar.size(),
                     {},
                     {},
                     {},
                     {}},
                    "nar/x",
                    compression,
                    {},
                    {}};
  return made;
}

std::optional<nix::Sha256> check_file(const nix::NarInfo& narinfo, const std::string& file) {
  const auto check = FileCheck::create(narinfo);
  REQUIRE(check);
  check->update(std::string_view(file).substr(0, file.size() / 3));
  check->update(std::string_view(file).substr(file.size() / 3));
  return check->finish();
}

}  // namespace

TEST_CASE("by the hash of the file") {
  nix::NarInfo named = narinfo_with("bzip2");
  named.file_hash = nix::sha256("a file");
  CHECK(check_file(named, "a file") == nix::sha256("a file"));
  CHECK_FALSE(check_file(named, "a fild"));
  CHECK_FALSE(check_file(named, "a fil"));
  CHECK_FALSE(check_file(named, ""));
}

TEST_CASE("an uncompressed file is the NAR") {
  nix::NarInfo plain = narinfo_with("none");
  CHECK(check_file(plain, sample_nar) == nix::sha256(sample_nar));
  CHECK_FALSE(check_file(plain, sample_nar + "n"));
  plain.file_hash = nix::sha256("another");
  CHECK_FALSE(check_file(plain, "another"));
  CHECK_FALSE(check_file(plain, sample_nar));
}

TEST_CASE("by the NAR that a file decompresses to") {
  for (const auto compression : {compress::Compression::zstd, compress::Compression::xz}) {
    nix::NarInfo unnamed = narinfo_with(std::string(compress::name_of(compression)));
    const std::string file = compressed(compression);
    CHECK(check_file(unnamed, file) == nix::sha256(file));
    CHECK_THROWS_AS(check_file(unnamed, file.substr(0, file.size() - 1)), UncheckableFile);
    CHECK_THROWS_AS(check_file(unnamed, "garbage"), UncheckableFile);
    unnamed.info.nar_hash = nix::sha256("another");
    CHECK_FALSE(check_file(unnamed, file));
    unnamed.info.nar_size = sample_nar.size() - 1;
    CHECK_THROWS_AS(check_file(unnamed, file), UncheckableFile);
  }
}

TEST_CASE("what cannot be checked") {
  CHECK_FALSE(FileCheck::create(narinfo_with("bzip2")));
  CHECK_FALSE(FileCheck::create(narinfo_with("br")));
}

TEST_CASE("who goes on without it knows the hash so far") {
  const auto check = FileCheck::create(narinfo_with("none"));
  check->update(std::string_view(sample_nar).substr(0, 1'000));
  auto hasher = check->hasher();
  REQUIRE(hasher);
  hasher->update(std::string_view(sample_nar).substr(1'000));
  CHECK(hasher->finish() == nix::sha256(sample_nar));
  check->update(std::string_view(sample_nar).substr(1'000));
  CHECK(check->finish() == nix::sha256(sample_nar));
  CHECK_FALSE(FileCheck::create(narinfo_with("xz"))->hasher());
}
