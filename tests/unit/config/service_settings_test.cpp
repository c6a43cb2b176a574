#include "common/config/service_settings.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "../support/temporary_directory.hpp"
#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/config/load.hpp"

namespace fs = std::filesystem;
using namespace nixbuild;
using namespace nixbuild::config;

namespace {

struct ServiceSettingsFixture {
  ServiceSettingsFixture() { list.add_to(settings); }

  void load(const std::string& content) {
    write_file_atomic(directory / "c.toml", content, 0644);
    load_file(settings, {directory / "c.toml", true});
  }
  std::string error_of(const std::string& content) {
    try {
      load(content);
    } catch (const UsageError& error) {
      return std::string(error.what()).substr((directory / "c.toml").string().size() + 1);
    }
    return "no error";
  }

  test::TemporaryDirectory temporary;
  fs::path directory = temporary.path();
  RepositoryList list;
  Settings settings;
};

}  // namespace

TEST_CASE_FIXTURE(ServiceSettingsFixture, "no repository is built in") {
  CHECK(list.repositories().empty());
}

TEST_CASE_FIXTURE(ServiceSettingsFixture, "repositories of several files merge by name") {
  load(
      "[[repository]]\nname = 'a'\nurl = 'https://x/a'\nkeep = 3\n"
      "[[repository]]\nname = 'b'\nurl = '/srv/b'\n");
  load("[[repository]]\nname = 'a'\nbranch = 'dev'\nlock = 'both'\ntimeout = '1h30m'\n");
  const auto repositories = list.repositories();
  REQUIRE(repositories.size() == 2);
  CHECK(repositories[0].name == "a");
  CHECK(repositories[0].url == "https://x/a");
  CHECK(repositories[0].branch == "dev");
  CHECK(repositories[0].keep == 3);
  CHECK(repositories[0].lock == Lock::both);
  CHECK(repositories[0].timeout == std::chrono::minutes(90));
  CHECK(repositories[1].name == "b");
  CHECK_FALSE(repositories[1].branch);
}

TEST_CASE_FIXTURE(ServiceSettingsFixture,
                  "what is wrong with a repository is said with line and key") {
  CHECK(error_of("[[repository]]\nurl = '/x'\n") ==
        "1: [[repository]]: name is missing, or no string");
  CHECK(error_of("[[repository]]\nname = 1\n") ==
        "2: [[repository]]: name is missing, or no string");
  CHECK(error_of("[repository]\nname = 'a'\n") == "1: repository: write it as [[repository]]");
  CHECK(error_of("[[repository]]\nname = 'a'\nulr = '/x'\n") ==
        "3: repository.ulr: unknown key; did you mean 'url'?");
  CHECK(error_of("[[repository]]\nname = 'A'\n").starts_with("2: repository.name: 'A': "));
  CHECK(error_of("[[repository]]\nname = 'a'\nurl = 'ext::sh'\n")
            .starts_with("3: repository.url: 'ext::sh': "));
  CHECK(error_of("[[repository]]\nname = 'a'\nbranch = '-x'\n")
            .starts_with("3: repository.branch: '-x': "));
  CHECK(error_of("[[repository]]\nname = 'a'\nhome_config = '../x.nix'\n")
            .starts_with("3: repository.home_config: "));
  CHECK(error_of("[[repository]]\nname = 'a'\nhome_config = 'x/../../x.nix'\n")
            .starts_with("3: repository.home_config: "));
  load("[[repository]]\nname = 'c'\nkeep = 1\n");
  CHECK_THROWS_AS(list.repositories(), UsageError);
}

TEST_CASE_FIXTURE(ServiceSettingsFixture, "--repository says name, URL and branch") {
  list.add_flag("a=/srv/a");
  list.add_flag("b=https://h/b#dev");
  const auto repositories = list.repositories();
  REQUIRE(repositories.size() == 2);
  CHECK(repositories[0].url == "/srv/a");
  CHECK(repositories[1].url == "https://h/b");
  CHECK(repositories[1].branch == "dev");
  for (const char* bad : {"", "a", "=/x", "a=", "a=x", "a=/x#-b", "a=/x#"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(list.add_flag(bad), UsageError);
  }
}

TEST_CASE("names of repositories") {
  for (const char* good : {"a", "0", "nix-terminal", "a.b_c-d"})
    check_repository_name(good);
  check_repository_name(std::string(63, 'a'));
  for (const std::string& bad :
       {std::string(), std::string("-a"), std::string(".a"), std::string("A"), std::string("a/b"),
        std::string("a b"), std::string("ä"), std::string(64, 'a'), std::string("a\n")}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(check_repository_name(bad), UsageError);
  }
}

TEST_CASE("URLs of repositories") {
  for (const char* good : {"https://github.com/a/b", "http://h:3000/a", "ssh://git@h/a",
                           "ssh://git@h:22/a", "git://h/a", "file:///srv/a", "/srv/a",
                           "git@github.com:a/b.git", "https://u@h/a", "ssh://[::1]/a"}) {
    CAPTURE(good);
    CHECK_NOTHROW(check_repository_url(good));
  }
  for (const char* bad : {"",
                          "-x",
                          "--upload-pack=x",
                          "ext::sh -c x",
                          "ext::sh",
                          "ftp://h/a",
                          "srv/a",
                          "./a",
                          "h:a",
                          "ssh://-oProxyCommand=x/a",
                          "ssh://git@-oProxyCommand=x/a",
                          "-u@h:a",
                          "git@-h:a",
                          "git@h:-a",
                          "https://",
                          "https:///a",
                          "https://h/a b",
                          "https://h/a\n",
                          "fd::17",
                          "@h:a",
                          "git@h:",
                          "git/x@h:a"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(check_repository_url(bad), UsageError);
  }
}

TEST_CASE("names of branches") {
  for (const char* good : {"main", "dev", "feature/x", "v1.0", "a-b", "ä"})
    check_branch(good);
  for (const char* bad :
       {"",   "-x", "a..b", "a b", "a~1",  "a^", "a:b",    "a?", "a*",    "a[",  "a\\b",
        "/a", "a/", "a//b", ".a",  "a/.b", "a.", "a.lock", "@",  "a@{1}", "a\tb"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(check_branch(bad), UsageError);
  }
}

TEST_CASE("times") {
  CHECK(parse_duration("2h") == std::chrono::hours(2));
  CHECK(parse_duration("1h30m") == std::chrono::minutes(90));
  CHECK(parse_duration("45s") == std::chrono::seconds(45));
  CHECK(parse_duration("0s") == std::chrono::seconds(0));
  CHECK(format_duration(std::chrono::seconds(93784)) == "1d2h3m4s");
  CHECK(format_duration(std::chrono::seconds(0)) == "0s");
  for (const char* bad :
       {"", "2", "h", "-1h", "2x", "2h3", " 2h", "1.5h", "366d", "99999999999999999999s"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(parse_duration(bad), UsageError);
  }
}

TEST_CASE("a URL with a password is refused, without showing it") {
  for (const char* bad : {"https://user:secret@h/a", "http://:secret@h/a", "ssh://git:secret@h/a",
                          "https://h/a?token=secret"}) {
    try {
      check_repository_url(bad);
      FAIL(bad);
    } catch (const UsageError& error) {
      const std::string message = error.what();
      CAPTURE(message);
      CHECK(message.find("secret") == std::string::npos);
      CHECK(message.find("netrc_file") != std::string::npos);
    }
  }
}

TEST_CASE("what is shown of a URL holds no password") {
  CHECK(without_credentials("https://user:secret@host/a") == "https://***@host/a");
  CHECK(without_credentials("https://token@host/a@b") == "https://***@host/a@b");
  CHECK(without_credentials("ssh://git@host/a") == "ssh://git@host/a");
  CHECK(without_credentials("ssh://git:secret@host/a") == "ssh://***@host/a");
  CHECK(without_credentials("https://host/a@b") == "https://host/a@b");
  CHECK(without_credentials("git@host:a") == "git@host:a");
  CHECK(without_credentials("/srv/a@b") == "/srv/a@b");
  CHECK(without_credentials("https://h/a?token=x") == "https://h/a?***");
  CHECK(without_credentials("https://h?token=x@y/z") == "https://h?***");
  CHECK(without_credentials("https://u:p@h/a?token=x") == "https://***@h/a?***");
  CHECK(without_credentials("ssh://git@h/a?x") == "ssh://git@h/a?***");
  CHECK(without_credentials("/srv/a?b") == "/srv/a?b");
}
