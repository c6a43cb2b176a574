#include "common/keys/token_file.hpp"

#include <doctest/doctest.h>

#include "../support/temporary_directory.hpp"
#include "common/base/error.hpp"
#include "common/base/files.hpp"

using namespace nixbuild;

TEST_CASE("a token file is its owner's alone") {
  const test::TemporaryDirectory directory;
  const std::filesystem::path file = directory.path() / "token";
  CHECK_THROWS_AS(keys::read_token_file(file), UsageError);
  CHECK_THROWS_AS(keys::read_token_file(directory.path()), UsageError);
  for (const char* text : {"secret", "secret\n", "secret \r\nmore\n"}) {
    write_file_atomic(file, text, 0640);
    CHECK(keys::read_token_file(file) == "secret");
  }
  for (const mode_t mode : {0644U, 0604U, 0602U, 0601U}) {
    write_file_atomic(file, "secret\n", mode);
    CHECK_THROWS_AS(keys::read_token_file(file), UsageError);
  }
  for (const char* text : {"", "\nsecret\n", "two words\n", "s\x01\n", "\xc3\xa4\n"}) {
    write_file_atomic(file, text, 0600);
    CHECK_THROWS_AS(keys::read_token_file(file), UsageError);
  }
}
