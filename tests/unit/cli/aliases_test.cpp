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
#include "cli/aliases/synced_list.hpp"
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
                           "a=", "a=  ", "a=x\ny", "a=\x1b[2J", "if=x", "alias=x", "end=x"}) {
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

TEST_CASE("fish keeps a command that is more than words as a string") {
  CHECK(alias_lines(Shell::fish, {{"x", "true; end; evil"}}) ==
        "function x; eval 'true; end; evil $argv'; end\n");
  CHECK(alias_lines(Shell::fish, {{"x", "--help"}}) == "function x; eval '--help $argv'; end\n");
  CHECK(alias_lines(Shell::fish, {{"ls", " ls 'a'"}}) ==
        "function ls; eval (contains -- ls (builtin --names); and echo builtin; or echo command) "
        "' ls \\'a\\' $argv'; end\n");
  CHECK(alias_lines(Shell::fish, {{"contains", "x"}, {"string", "x"}}).empty());
  CHECK(alias_lines(Shell::zsh, {{"string", "x"}}) == "alias string='x'\n");
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

TEST_CASE("a synced list reads back, without what no shell should load") {
  const SyncedList list = {{{"a", "x \"y\" é"}}, {{"b", {"1", "2"}}}, {{"c", "z"}}};
  CHECK(parse_synced_list(format_synced_list(list)) == list);
  for (const char* text :
       {"", "x", "[]", "{", "null", R"({"aliases":[]})", R"({"aliases":{"a":1}})",
        R"({"aliases":{"if":"x","a b":"x","c":"x\ny","d":""}})"})
    CHECK(parse_synced_list(text) == SyncedList());
}

TEST_CASE("a shell gets the list and the dotfiles, but what was superseded") {
  const SyncedList list = {
      {{"a", "1"}, {"b", "1"}}, {{"b", {"old"}}, {"gone", {"old"}}}, {{"d", "4"}}};
  CHECK(effective_aliases(list, AliasList{{"b", "old"}, {"gone", "old"}, {"c", "3"}}) ==
        AliasList{{"a", "1"}, {"b", "1"}, {"c", "3"}});
  // A person has changed them since.
  CHECK(effective_aliases(list, AliasList{{"b", "new"}, {"gone", "new"}}) ==
        AliasList{{"a", "1"}, {"b", "new"}, {"gone", "new"}});
  // A version of Atuin that no longer lists any.
  CHECK(effective_aliases(list, std::nullopt) == AliasList{{"a", "1"}, {"b", "1"}, {"d", "4"}});
  AliasList all = {{"a", "1"}, {"if", "x"}, {"t", "a\tb"}};
  CHECK(take_unloadable(all) == AliasList{{"if", "x"}, {"t", "a\tb"}});
  CHECK(all == AliasList{{"a", "1"}});
}

TEST_CASE("the list after the dotfiles can only be read") {
  const AliasList dotfiles = {{"a", "1"}, {"b", "old"}, {"gone", "x"}, {"mine", "m"}};
  const AliasRecord record = {{"a", {"1"}}, {"b", {"old"}}, {"gone", {"x"}}};
  const AliasList wanted = {{"a", "1"}, {"b", "2"}, {"mine", "m2"}};
  const SyncedList before;
  const AliasPlan plan =
      plan_aliases(wanted, effective_aliases(before, dotfiles), record, Others::keep);
  const SyncedList next = next_list(before, dotfiles, wanted, plan);
  CHECK(next.aliases == AliasList{{"a", "1"}, {"b", "2"}});
  CHECK(next.superseded == AliasRecord{{"b", {"old"}}, {"gone", {"x"}}});
  CHECK(next.dotfiles == AliasList{{"a", "1"}, {"mine", "m"}});
  const AliasList now = {{"a", "1"}, {"b", "2"}, {"mine", "m"}};
  CHECK(effective_aliases(next, dotfiles) == now);
  // Once more: nothing changes.
  const AliasPlan again = plan_aliases(wanted, now, plan.after, Others::keep);
  CHECK(next_list(next, dotfiles, wanted, again) == next);
  // Aliases that the dotfiles no longer have need no record.
  CHECK(next_list(next, AliasList{}, wanted, again).superseded.empty());
}

TEST_CASE("an Atuin that sets its dotfiles brings them in line with the list") {
  const SyncedList list = {{{"a", "2"}}, {{"a", {"1"}}, {"gone", {"x"}}}, {}};
  const AliasList dotfiles = {{"a", "1"}, {"gone", "x"}, {"mine", "m"}};
  const AliasList wanted = {{"a", "2"}};
  AliasPlan plan =
      plan_aliases(wanted, effective_aliases(list, dotfiles), {{"a", {"2"}}}, Others::keep);
  CHECK(plan.set.empty());
  include_superseded(plan, list, dotfiles, wanted);
  CHECK(plan.set == AliasList{{"a", "2"}});
  CHECK(plan.remove == std::vector<std::string>{"gone"});
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
  CHECK(install_lines("alias a=b\n", directory / "link") == Change::written);
  CHECK(install_lines("alias a=b\n", directory / "link") == Change::none);
  CHECK(fs::is_symlink(directory / "link"));
  CHECK(read_file(real)->starts_with("mine\n# >>>"));
  struct stat status = {};
  ::stat(real.c_str(), &status);
  CHECK((status.st_mode & 07777) == 0640);

  CHECK(install_lines("alias a b\n", directory / "fish/conf.d/x.fish") == Change::written);
  fs::create_symlink("/nix/store/x-rc", directory / "managed");
  CHECK_THROWS_AS(install_lines("alias a=b\n", directory / "managed"), Error);
}
