#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "../support/temporary_directory.hpp"
#include "cli/aliases/alias_list.hpp"
#include "cli/aliases/alias_plan.hpp"
#include "cli/aliases/shell.hpp"
#include "cli/aliases/startup_file.hpp"
#include "common/base/error.hpp"
#include "common/base/files.hpp"

namespace fs = std::filesystem;
using namespace nixbuild;
using namespace nixbuild::cli;

namespace {

AliasList wanted(const config::AliasOptions& options) {
  config::Configuration configuration;
  configuration.aliases = options;
  return wanted_aliases(configuration);
}

}  // namespace

TEST_CASE("the user's aliases join the built-in ones") {
  const AliasList list = wanted({{"ll=ls -l", "bt=nixbuild trigger --wait"}, {"bl"}});
  CHECK(list == AliasList{{"bs", "nixbuild status"},
                          {"bt", "nixbuild trigger --wait"},
                          {"ll", "ls -l"},
                          {"rebuild", "nixbuild system-update --no-update --no-gc"},
                          {"system-update", "nixbuild system-update"}});
}

TEST_CASE("aliases that no shell should see") {
  for (const char* text : {"", "x", "=x", "a b=x", "-n=x", "a'=x", "a$b=x", "é=x",
                           "a=", "a=  ", "a=x\ny", "a=\x1b[2J"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(wanted({{text}, {}}), UsageError);
  }
  CHECK_THROWS_AS(wanted({{}, {"nope"}}), UsageError);
}

TEST_CASE("quoting") {
  CHECK(quote(Shell::bash, "it's $(x) \\ \"y\"") == R"('it'\''s $(x) \ "y"')");
  CHECK(quote(Shell::zsh, "it's") == R"('it'\''s')");
  CHECK(quote(Shell::fish, "it's \\ $x") == R"('it\'s \\ $x')");
  CHECK(alias_lines(Shell::bash, {{"ll", "ls -l"}}) == "alias ll='ls -l'\n");
  CHECK(alias_lines(Shell::fish, {{"ll", "ls -l"}}) == "alias ll 'ls -l'\n");
}

TEST_CASE("shells by name and by path") {
  CHECK(parse_shell("zsh") == Shell::zsh);
  CHECK(parse_shell("/run/current-system/sw/bin/fish") == Shell::fish);
  CHECK(name_of(Shell::bash) == "bash");
  for (const char* text : {"", "sh", "/bin/", "nu"})
    CHECK_THROWS_AS(parse_shell(text), UsageError);
}

TEST_CASE("what Atuin lists") {
  CHECK(parse_alias_listing("a=b=c\ne=\nno alias\n\nlast=x") ==
        AliasList{{"a", "b=c"}, {"e", ""}, {"last", "x"}});
  CHECK(parse_alias_listing("").empty());
}

TEST_CASE("the record reads back") {
  const AliasRecord record = {{"bt", {"nixbuild trigger", "x \"y\""}}, {"bs", {"z"}}};
  CHECK(parse_alias_record(format_alias_record(record)) == record);
  for (const char* text : {"", "x", "[]", "{", R"({"a":1})", R"({"a":[1]})"})
    CHECK(parse_alias_record(text).empty());
}

TEST_CASE("nothing there yet: all are set and recorded") {
  const AliasPlan plan = plan_aliases({{"a", "1"}}, {{"other", "x"}}, {}, Others::keep);
  CHECK(plan.set == AliasList{{"a", "1"}});
  CHECK(plan.remove.empty());
  CHECK(plan.taken.empty());
  CHECK(plan.before == AliasRecord{{"a", {"1"}}});
  CHECK(plan.after == plan.before);
}

TEST_CASE("all there: nothing to do") {
  const AliasRecord record = {{"a", {"1"}}};
  const AliasPlan plan = plan_aliases({{"a", "1"}}, {{"a", "1"}}, record, Others::keep);
  CHECK(plan.set.empty());
  CHECK(plan.before == record);
  CHECK(plan.after == record);
}

TEST_CASE("ours is changed, and known as ours however far the change came") {
  const AliasList wanted = {{"a", "2"}};
  const AliasPlan plan = plan_aliases(wanted, {{"a", "1"}}, {{"a", {"1"}}}, Others::keep);
  CHECK(plan.set == wanted);
  CHECK(plan.before == AliasRecord{{"a", {"1", "2"}}});
  CHECK(plan.after == AliasRecord{{"a", {"2"}}});
  for (const char* reached : {"1", "2"}) {
    const AliasPlan next = plan_aliases({}, {{"a", reached}}, plan.before, Others::keep);
    CHECK(next.remove == std::vector<std::string>{"a"});
  }
}

TEST_CASE("another's alias stays") {
  const AliasList present = {{"a", "theirs"}, {"same", "1"}};
  const AliasList wanted = {{"a", "1"}, {"same", "1"}};
  const AliasPlan plan = plan_aliases(wanted, present, {{"a", {"1"}}}, Others::keep);
  CHECK(plan.set.empty());
  CHECK(plan.taken == std::vector<std::string>{"a"});
  CHECK(plan.after.empty());
  CHECK(plan_aliases({}, present, {{"a", {"1"}}}, Others::keep).remove.empty());

  const AliasPlan forced = plan_aliases(wanted, present, {}, Others::replace);
  CHECK(forced.set == AliasList{{"a", "1"}});
  CHECK(forced.taken.empty());
}

TEST_CASE("what is no longer wanted goes, unless it is gone already") {
  const AliasRecord record = {{"a", {"1"}}, {"b", {"2"}}};
  const AliasPlan plan = plan_aliases({}, {{"a", "1"}, {"c", "3"}}, record, Others::keep);
  CHECK(plan.remove == std::vector<std::string>{"a"});
  CHECK(plan.after.empty());
}

TEST_CASE("the block in a startup file") {
  const std::string lines = "alias a='b'\n";
  const std::string block = "# >>> nixbuild aliases >>>\nalias a='b'\n# <<< nixbuild aliases <<<\n";
  CHECK(with_alias_block("", lines) == block);
  CHECK(with_alias_block("before", lines) == "before\n" + block);
  CHECK(with_alias_block("before\n" + block + "after\n", lines) == "before\n" + block + "after\n");
  CHECK(with_alias_block("before\n" + block + "after\n", "x\n") ==
        "before\n# >>> nixbuild aliases >>>\nx\n# <<< nixbuild aliases <<<\nafter\n");
  CHECK(with_alias_block("before\n" + block + "after", "") == "before\nafter");
  CHECK(with_alias_block("# >>> nixbuild aliases >>>\n# <<< nixbuild aliases <<<", lines) == block);
  CHECK_THROWS_AS(with_alias_block("# >>> nixbuild aliases >>>\nalias\n", lines), Error);
  CHECK_THROWS_AS(with_alias_block("# <<< nixbuild aliases <<<\n", lines), Error);
  CHECK_THROWS_AS(
      with_alias_block("# <<< nixbuild aliases <<<\n# >>> nixbuild aliases >>>\n", lines), Error);
}

TEST_CASE("installing keeps the file's mode and follows a link") {
  const test::TemporaryDirectory temporary;
  const fs::path& directory = temporary.path();
  const fs::path real = directory / "real";
  write_file_atomic(real, "mine\n", 0640);
  fs::create_symlink("real", directory / "link");
  CHECK(install_aliases(Shell::bash, {{"a", "b"}}, directory / "link") == Change::written);
  CHECK(install_aliases(Shell::bash, {{"a", "b"}}, directory / "link") == Change::none);
  CHECK(fs::is_symlink(directory / "link"));
  CHECK(read_file(real)->starts_with("mine\n# >>>"));
  struct stat status = {};
  ::stat(real.c_str(), &status);
  CHECK((status.st_mode & 07777) == 0640);

  CHECK(install_aliases(Shell::fish, {{"a", "b"}}, directory / "fish/conf.d/x.fish") ==
        Change::written);
  fs::create_symlink("/nix/store/x-rc", directory / "managed");
  CHECK_THROWS_AS(install_aliases(Shell::bash, {{"a", "b"}}, directory / "managed"), Error);
}
