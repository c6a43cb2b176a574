#include "server/builder/gc_roots.hpp"

#include <doctest/doctest.h>

#include "../support/temporary_directory.hpp"

namespace fs = std::filesystem;
using namespace nixbuild;
using namespace nixbuild::builder;

namespace {

protocol::Target good(const std::string& name, const std::string& path) {
  protocol::Target target;
  target.name = name;
  target.result = protocol::TargetResult::success;
  target.outputs = {{"out", path, 0}};
  return target;
}

protocol::Target bad(const std::string& name) {
  protocol::Target target;
  target.name = name;
  target.result = protocol::TargetResult::failed;
  return target;
}

using Paths = std::set<std::string>;

}  // namespace

TEST_CASE("successes are counted for each target") {
  const auto kept = roots_to_keep({{5, "", {good("a", "/a5"), bad("b")}},
                                   {4, "", {}},  // failed before its targets were known
                                   {3, "", {good("a", "/a3"), bad("b")}},
                                   {2, "", {good("a", "/a2"), good("b", "/b2")}},
                                   {1, "", {good("a", "/a1"), good("b", "/b1")}}},
                                  2);
  REQUIRE(kept.size() == 4);
  CHECK(kept.at(5).outputs == Paths{"/a5"});
  CHECK(kept.at(3).outputs == Paths{"/a3"});
  CHECK(kept.at(2).outputs == Paths{"/b2"});
  CHECK(kept.at(1).outputs == Paths{"/b1"});
}

TEST_CASE("a target that is gone is dropped in the end") {
  const std::vector<history::BuildTargets> builds = {
      {3, "", {good("a", "/a3")}}, {2, "", {good("a", "/a2")}}, {1, "", {good("old", "/old")}}};
  CHECK(roots_to_keep(builds, 3).at(1).outputs == Paths{"/old"});
  CHECK_FALSE(roots_to_keep(builds, 2).contains(1));
}

TEST_CASE("a build without any success drops no target") {
  const auto kept = roots_to_keep(
      {{3, "", {bad("a")}}, {2, "", {bad("a"), bad("b")}}, {1, "", {good("old", "/old")}}}, 1);
  CHECK(kept.at(1).outputs == Paths{"/old"});
}

TEST_CASE("branches do not count against each other") {
  const auto kept = roots_to_keep({{4, "dev", {good("a", "/a4")}},
                                   {3, "main", {good("a", "/a3"), good("b", "/b3")}},
                                   {2, "dev", {good("a", "/a2")}},
                                   {1, "", {good("a", "/a1"), good("old", "/old")}}},
                                  1);
  REQUIRE(kept.size() == 2);
  CHECK(kept.at(4).outputs == Paths{"/a4"});
  CHECK(kept.at(3).outputs == Paths{"/a3", "/b3"});
}

TEST_CASE("a set that does not evaluate counts against none of its members") {
  const auto kept = roots_to_keep(
      {{3, "", {bad("checks.x86_64-linux"), good("b", "/b3")}},
       {2, "", {bad("checks.x86_64-linux"), good("b", "/b2")}},
       {1, "", {good("checks.x86_64-linux.a", "/a"), good("checks.x86_64-linux2.a", "/other")}}},
      1);
  CHECK(kept.at(1).outputs == Paths{"/a"});
}

TEST_CASE("roots that are not to be kept are removed, and nothing else is touched") {
  const test::TemporaryDirectory directory;
  const auto link = [&](const std::string& name, const std::string& path) {
    fs::create_directories((directory.path() / name).parent_path());
    fs::create_symlink(path, directory.path() / name);
  };
  link("9/root1", "/a");
  link("9/root1-2", "/b");
  link("9/input2", "/dep");
  link("9/evaluated0-1", "/x.drv");
  link("8/root1", "/c");
  link("8/input2", "/dep");
  link("7/root1", "/unknown");
  link("3/root1", "/unknown");
  link("2/root1", "/unknown");
  link("other/root", "/a");
  link("7x/root", "/a");
  fs::create_directories(directory.path() / "10");
  CHECK(rooted_builds(directory.path()) == std::vector<std::int64_t>{10, 9, 8, 7, 3, 2});
  remove_old_roots(directory.path(), {{9, {{"/b"}, true}}, {8, {{"/c"}, false}}}, {10, 9, 8, 7}, 3);
  std::set<std::string> left;
  for (const auto& entry : fs::recursive_directory_iterator(directory.path())) {
    if (entry.is_symlink())
      left.insert(fs::relative(entry.path().parent_path(), directory.path()) /
                  entry.path().filename());
  }
  CHECK(left == std::set<std::string>{"9/root1-2", "9/input2", "8/root1", "3/root1", "other/root",
                                      "7x/root"});
  CHECK_FALSE(fs::exists(directory.path() / "10"));
  remove_old_roots(directory.path() / "absent", {}, {}, 2);
}
