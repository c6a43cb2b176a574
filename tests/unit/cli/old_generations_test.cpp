#include "cli/update/old_generations.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <string>

#include "../support/temporary_directory.hpp"

using namespace nixbuild;
using namespace nixbuild::cli;
namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

constexpr std::chrono::sys_seconds today{1'800'000'000s};

Generation generation(std::int64_t number, std::chrono::days age) {
  return {number, today - age, fs::path("/nix/store") / std::to_string(number), false};
}

}  // namespace

TEST_CASE("generations that are old and not among the newest are deleted") {
  using std::chrono::days;
  std::vector<Generation> all = {generation(6, days{1}),  generation(5, days{40}),
                                 generation(4, days{50}), generation(3, days{60}),
                                 generation(2, days{70}), generation(1, days{80})};
  using Numbers = std::vector<std::int64_t>;
  CHECK(old_generations(all, today, days{30}, 0, {}) == Numbers{5, 4, 3, 2, 1});
  CHECK(old_generations(all, today, days{30}, 3, {}) == Numbers{3, 2, 1});
  CHECK(old_generations(all, today, days{65}, 3, {}) == Numbers{2, 1});
  CHECK(old_generations(all, today, days{30}, 9, {}).empty());
  // What runs, what was booted and what the profile is, stays.
  all[3].is_current = true;
  CHECK(old_generations(all, today, days{30}, 0, {"/nix/store/1"}) == Numbers{5, 4, 2});
}

TEST_CASE("the generations of a profile are its links") {
  const test::TemporaryDirectory directory;
  const auto link = [&](const char* name, const fs::path& target) {
    fs::create_symlink(target, directory.path() / name);
  };
  for (const char* name : {"a", "b"})
    fs::create_directory(directory.path() / name);
  link("home-1-link", directory.path() / "a");
  link("home-12-link", directory.path() / "b");
  link("home-2-link", "/nowhere");
  link("home", "home-1-link");
  for (const char* other : {"home-x-link", "home--link", "home-3", "homes-4-link", "home-0-link"})
    link(other, "a");
  const auto found = generations_of(directory.path() / "home");
  REQUIRE(found.size() == 3);
  CHECK(found[0].number == 12);
  CHECK(found[0].store_path == fs::canonical(directory.path() / "b"));
  CHECK(found[1].store_path.empty());
  CHECK(found[2].is_current);
  CHECK_FALSE(found[0].is_current);
  CHECK(generations_of(directory.path() / "none").empty());
}
