#include "common/keys/key_file.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "../support/temporary_directory.hpp"
#include "common/base/error.hpp"
#include "common/base/files.hpp"

namespace fs = std::filesystem;
using namespace nixbuild;

namespace {

mode_t mode_of(const fs::path& file) {
  struct stat status {};
  REQUIRE(::stat(file.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

std::string refusal(const fs::path& file) {
  try {
    keys::load_key_file(file);
  } catch (const UsageError& error) {
    return error.what();
  }
  return {};
}

}  // namespace

TEST_CASE("a generated key is only its owner's, its public half everybody's") {
  const test::TemporaryDirectory directory;
  const fs::path file = directory.path() / "key";
  const nix::SecretKey made = keys::generate_key_file(file, "cache-1");
  CHECK(mode_of(file) == 0600);
  CHECK(mode_of(directory.path() / "key.pub") == 0644);
  const nix::SecretKey loaded = keys::load_key_file(file);
  CHECK(loaded.name() == "cache-1");
  CHECK(loaded.to_string() == made.to_string());
  CHECK(read_file(directory.path() / "key.pub") == made.public_key().to_string() + "\n");
  CHECK(made.public_key().verify("text", loaded.sign("text")));
}

TEST_CASE("an existing file is never overwritten") {
  const test::TemporaryDirectory directory;
  const fs::path file = directory.path() / "key";
  write_file_atomic(file, "precious", 0600);
  CHECK_THROWS_AS(keys::generate_key_file(file, "cache-1"), UsageError);
  CHECK(read_file(file) == "precious");
}

TEST_CASE("a key file that others can get at is refused, a group's is not") {
  const test::TemporaryDirectory directory;
  const fs::path file = directory.path() / "key";
  keys::generate_key_file(file, "cache-1");
  for (const mode_t mode : {0604U, 0602U, 0601U, 0644U, 0666U}) {
    REQUIRE(::chmod(file.c_str(), mode) == 0);
    CHECK(refusal(file).find("chmod 600") != std::string::npos);
  }
  for (const mode_t mode : {0400U, 0440U, 0640U, 0600U}) {
    REQUIRE(::chmod(file.c_str(), mode) == 0);
    CHECK(refusal(file).empty());
  }
}

TEST_CASE("a file that is missing or no key is refused, and the message does not show it") {
  const test::TemporaryDirectory directory;
  const fs::path file = directory.path() / "key";
  CHECK(refusal(file).find("no such file") != std::string::npos);
  CHECK_FALSE(refusal(directory.path()).empty());
  for (const std::string text : {"", "sesame", "name:sesame", "name:c2VzYW1l", ":"}) {
    write_file_atomic(file, text, 0600);
    const std::string message = refusal(file);
    CHECK_FALSE(message.empty());
    CHECK(message.find("sesame") == std::string::npos);
    CHECK(message.find("c2VzYW1l") == std::string::npos);
  }
  const nix::SecretKey key = nix::SecretKey::generate("cache-1");
  write_file_atomic(file, key.public_key().to_string(), 0600);
  CHECK_FALSE(refusal(file).empty());
}

TEST_CASE("a file that cannot be a key is not replaced by a generated one") {
  const test::TemporaryDirectory directory;
  const fs::path file = directory.path() / "key";
  write_file_atomic(file, "not a key", 0600);
  CHECK_THROWS_AS(keys::load_or_generate_key_file(file, "cache-1"), UsageError);
  CHECK(read_file(file) == "not a key");
}

TEST_CASE("many who load or generate at once get one key") {
  const test::TemporaryDirectory directory;
  const fs::path file = directory.path() / "key";
  std::vector<std::string> keys_got(8);
  {
    std::vector<std::jthread> threads;
    for (std::string& got : keys_got) {
      threads.emplace_back(
          [&] { got = keys::load_or_generate_key_file(file, "cache-1").to_string(); });
    }
  }
  for (const std::string& got : keys_got)
    CHECK(got == keys_got.front());
  CHECK(keys::load_key_file(file).to_string() == keys_got.front());
  CHECK(std::distance(fs::directory_iterator(directory.path()), fs::directory_iterator()) == 2);
}

TEST_CASE("a lost public half is written again") {
  const test::TemporaryDirectory directory;
  const fs::path file = directory.path() / "key";
  const nix::SecretKey key = keys::load_or_generate_key_file(file, "cache-1");
  fs::remove(keys::public_key_file(file));
  keys::load_or_generate_key_file(file, "cache-1");
  CHECK(read_file(keys::public_key_file(file)) == key.public_key().to_string() + "\n");
}

TEST_CASE("the default name is one that a key may have") {
  const std::string name = keys::default_key_name();
  CHECK(name.ends_with("-1"));
  CHECK(nix::SecretKey::generate(name).name() == name);
}
