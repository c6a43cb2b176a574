#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "../support/temporary_directory.hpp"
#include "cli/update/configurations.hpp"
#include "cli/update/followed_builds.hpp"
#include "cli/update/generations.hpp"
#include "cli/update/lock_file.hpp"
#include "cli/update/pinning.hpp"
#include "cli/update/server_builds.hpp"
#include "cli/update/substituters.hpp"
#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/base/time.hpp"

namespace fs = std::filesystem;
using namespace nixbuild;
using namespace nixbuild::cli;
using Json = nlohmann::json;
using Names = std::vector<std::string>;

namespace {

const std::string hash_a = "00000000000000000000000000000000";
const std::string hash_b = "11111111111111111111111111111111";

std::string path(const std::string& hash, const std::string& name) {
  return "/nix/store/" + hash + "-" + name + "\n";
}

nix::FlakeLock lock_of(const Json& inputs) {
  Json nodes = {{"root", {{"inputs", Json::object()}}}};
  for (const auto& [name, node] : inputs.items()) {
    nodes[name] = node;
    nodes["root"]["inputs"][name] = name;
  }
  return nix::FlakeLock::parse(Json{{"version", 7}, {"root", "root"}, {"nodes", nodes}}.dump());
}

Json github(const std::string& name, const std::string& rev, const std::string& ref = "") {
  Json original = {{"type", "github"}, {"owner", "Ann"}, {"repo", name}};
  if (!ref.empty()) original["ref"] = ref;
  return {{"original", original},
          {"locked", {{"type", "github"}, {"owner", "Ann"}, {"repo", name}, {"rev", rev}}}};
}

// What a fetch returns if the server's claims are true.
const LockShared believe = [](const std::string&, const Json&, const Json& theirs) {
  return std::optional<Json>(theirs);
};

ServerBuild build_of(std::int64_t number, const std::string& commit,
                     std::optional<nix::FlakeLock> lock) {
  ServerBuild build;
  build.record.build = number;
  build.record.commit = commit;
  build.lock = std::move(lock);
  return build;
}

protocol::BuildRecord record_of(const std::string& history, std::int64_t number,
                                const char* finish) {
  protocol::BuildRecord record;
  record.history = history;
  record.build = number;
  record.finish = *parse_time(finish);
  return record;
}

struct Directory : test::TemporaryDirectory {
  Directory() { fs::create_directory(path() / "flake"); }
  fs::path lock() const { return path() / "flake/flake.lock"; }
  LockFile hold() const { return {path() / "flake", path() / "state"}; }
};

}  // namespace

// Inputs that the server builds.

TEST_CASE("inputs that the server builds, by their origin") {
  const auto lock = lock_of({{"tools", github("tools", "1")},
                             {"dev", github("app", "1", "dev")},
                             {"wild", github("app", "1", "wild")},
                             {"own", github("own", "1")}});
  Names notes;
  const auto found = built_inputs(lock,
                                  {{"t", "https://github.com/ann/TOOLS.git", std::nullopt, ""},
                                   {"app", "git@github.com:ann/app", "dev", ""}},
                                  notes);
  REQUIRE(found.size() == 2);
  CHECK(found[0].name == "dev");
  CHECK(found[0].repository == "app");
  CHECK(found[1].name == "tools");
  CHECK(notes == Names{"wild: this flake wants 'wild', the server builds 'dev'"});
}

TEST_CASE("one repository of two has the branch") {
  Names notes;
  const auto found = built_inputs(lock_of({{"app", github("app", "1", "dev")}}),
                                  {{"main", "https://github.com/ann/app", "main", ""},
                                   {"dev", "https://github.com/ann/app", "dev", ""}},
                                  notes);
  REQUIRE(found.size() == 1);
  CHECK(found[0].repository == "dev");
  CHECK(notes.empty());
}

TEST_CASE("inputs that a host has") {
  const auto node = [](const std::string& url) {
    return nlohmann::json{{"original", {{"type", "git"}, {"url", url}}}};
  };
  for (const char* url : {"git://build-server/tools", "ssh://git@Build-Server:2222/srv/tools",
                          "https://build-server/t"}) {
    CAPTURE(url);
    CHECK(is_hosted_by(node(url), "build-server"));
    CHECK(is_hosted_by(node(url), "BUILD-server"));
    CHECK_FALSE(is_hosted_by(node(url), "build"));
    CHECK_FALSE(is_hosted_by(node(url), "build-server2"));
    CHECK_FALSE(is_hosted_by(node(url), ""));
  }
  CHECK(is_hosted_by(node("http://[fd7a::1]:80/t"), "fd7a::1"));
  CHECK_FALSE(is_hosted_by(node("file:///build-server/t"), "build-server"));
  CHECK_FALSE(is_hosted_by(node("file:///t"), ""));
}

// Pinning.

TEST_CASE("the source of a commit") {
  const Json forge = github("tools", "old", "main");
  CHECK(source_of(forge, "new", "main") ==
        Json{{"type", "github"}, {"owner", "Ann"}, {"repo", "tools"}, {"rev", "new"}});
  Json git = {{"original", {{"type", "git"}, {"url", "https://x/y"}, {"dir", "sub"}}}};
  CHECK(source_of(git, "new", "dev") ==
        Json{{"type", "git"}, {"url", "https://x/y"}, {"rev", "new"}, {"ref", "dev"}});
  CHECK_FALSE(source_of(git, "new", std::nullopt).contains("ref"));
  git["original"]["ref"] = "mine";
  CHECK(source_of(git, "new", "dev")["ref"] == "mine");
  const Json registered = {{"original", {{"type", "indirect"}, {"id", "tools"}}},
                           {"locked", github("tools", "old")["locked"]}};
  CHECK(source_of(registered, "new", std::nullopt)["repo"] == "tools");

  git["original"].erase("ref");
  CHECK(locked_source(git, source_of(git, "new", std::nullopt), {"sha256-x", 7, 3}) ==
        Json{{"type", "git"},
             {"url", "https://x/y"},
             {"rev", "new"},
             {"dir", "sub"},
             {"narHash", "sha256-x"},
             {"lastModified", 7},
             {"revCount", 3}});
}

TEST_CASE("what Nix says of a source") {
  const SourceInfo info = parse_source_info(R"({"narHash":"h","lastModified":7,"revCount":null})");
  CHECK(info.nar_hash == "h");
  CHECK(info.last_modified == 7);
  CHECK_FALSE(info.revision_count);
  for (const char* text : {"", "{}", R"({"narHash":1,"lastModified":7})", R"({"narHash":"h"})"})
    CHECK_THROWS_AS(parse_source_info(text), FormatError);
}

TEST_CASE("inputs in common are locked as the build had them") {
  auto lock = lock_of({{"tools", github("tools", "t1")},
                       {"nixpkgs", github("nixpkgs", "n1", "unstable")},
                       {"home", github("home", "h1", "release")},
                       {"mine", github("mine", "m1")}});
  Json theirs = github("nixpkgs", "n2", "unstable");
  theirs["locked"]["__final"] = true;
  const ServerBuild build =
      build_of(7, "t2", lock_of({{"nixpkgs", theirs}, {"home", github("home", "h2", "master")}}));
  std::set<std::string> settled;
  const Names notes = follow_build(lock, {"tools", "tools-repository", std::nullopt},
                                   Json{{"rev", "t2"}}, build, believe, settled);
  const auto rev = [&](const char* name) {
    return nix::FlakeLock::locked_of(*lock.input(name)).at("rev").get<std::string>();
  };
  CHECK(rev("tools") == "t2");
  CHECK(rev("nixpkgs") == "n2");
  CHECK_FALSE(nix::FlakeLock::locked_of(*lock.input("nixpkgs")).contains("__final"));
  CHECK(rev("home") == "h1");
  CHECK(rev("mine") == "m1");
  CHECK(settled == std::set<std::string>{"nixpkgs", "tools"});
  CHECK(notes ==
        Names{"home: has another origin than the one that tools-repository was built with"});

  // A second build with another nixpkgs cannot change it as well.
  const ServerBuild other =
      build_of(8, "m2", lock_of({{"nixpkgs", github("nixpkgs", "n3", "unstable")}}));
  const Names more = follow_build(lock, {"mine", "mine", std::nullopt}, Json{{"rev", "m2"}}, other,
                                  believe, settled);
  CHECK(rev("nixpkgs") == "n2");
  CHECK(more == Names{"nixpkgs: mine was built with another version of it"});
}

TEST_CASE("an input in common is locked to what this machine has fetched, or stays") {
  const auto lock =
      lock_of({{"tools", github("tools", "t1")}, {"nixpkgs", github("nixpkgs", "n1")}});
  const ServerBuild build = build_of(7, "t2", lock_of({{"nixpkgs", github("nixpkgs", "n2")}}));
  std::set<std::string> settled;
  auto checked = lock;
  follow_build(
      checked, {"tools", "tools", std::nullopt}, Json{{"rev", "t2"}}, build,
      [](const std::string&, const Json&, const Json&) {
        return std::optional<Json>({{"rev", "n2"}, {"narHash", "fetched"}});
      },
      settled);
  CHECK(nix::FlakeLock::locked_of(*checked.input("nixpkgs")) ==
        Json{{"rev", "n2"}, {"narHash", "fetched"}});
  CHECK(settled == std::set<std::string>{"nixpkgs", "tools"});

  settled.clear();
  auto left = lock;
  follow_build(
      left, {"tools", "tools", std::nullopt}, Json{{"rev", "t2"}}, build,
      [](const std::string&, const Json&, const Json&) { return std::optional<Json>(); }, settled);
  CHECK(nix::FlakeLock::locked_of(*left.input("nixpkgs")).at("rev") == "n1");
  CHECK(settled == std::set<std::string>{"tools"});
}

TEST_CASE("a lock may not lead elsewhere than it says") {
  const auto mine = lock_of({{"tools", github("tools", "1")}});
  const auto problem = [&](const Json& node) {
    return lock_problem(lock_of({{"x", node}}), mine).value_or("");
  };
  CHECK(problem(github("x", "1")) == "");
  Json node = github("x", "1");
  node["locked"]["owner"] = "mallory";
  CHECK(problem(node) ==
        "its flake.lock has 'x' come from github.com/ann/x, but locks it to github.com/mallory/x");
  // The same path with another protocol or host.
  node = github("x", "1");
  node["locked"]["host"] = "evil.example.org";
  CHECK(problem(node) != "");
  node = github("x", "1");
  node["locked"] = {{"type", "git"}, {"url", "https://github.com/Ann/x"}, {"rev", "1"}};
  CHECK(problem(node) != "");
  node = {{"original", {{"type", "git"}, {"url", "https://x/y"}}},
          {"locked", {{"type", "git"}, {"url", "http://x/y"}, {"rev", "1"}}}};
  CHECK(problem(node) != "");
  node["locked"]["url"] = "https://x/y";
  CHECK(problem(node) == "");
  node.erase("original");
  CHECK(problem(node) != "");

  // Inputs of inputs are checked as well.
  auto nodes = Json{{"root", {{"inputs", {{"a", "a"}}}}}, {"a", github("a", "1")}};
  nodes["a"]["inputs"]["b"] = "b";
  nodes["b"] = github("b", "1");
  nodes["b"]["locked"]["repo"] = "evil";
  CHECK(lock_problem(
      nix::FlakeLock::parse(Json{{"version", 7}, {"root", "root"}, {"nodes", nodes}}.dump()),
      mine));
}

TEST_CASE("registries and tarballs lead where they lead on this machine") {
  Json registered = {{"original", {{"type", "indirect"}, {"id", "nixpkgs"}}},
                     {"locked", github("nixpkgs", "1")["locked"]}};
  Json tarball = {{"original", {{"type", "tarball"}, {"url", "https://channels.x/u.tar.xz"}}},
                  {"locked", {{"type", "tarball"}, {"url", "https://releases.x/1/u.tar.xz"}}}};
  const auto theirs = lock_of({{"a", registered}, {"b", tarball}});
  CHECK(lock_problem(theirs, lock_of(Json::object())));
  CHECK(lock_problem(theirs, lock_of({{"mine", registered}})));
  CHECK_FALSE(lock_problem(theirs, lock_of({{"mine", registered}, {"other", tarball}})));
  tarball["locked"]["url"] = "https://releases.x/2/u.tar.xz";
  CHECK_FALSE(lock_problem(theirs, lock_of({{"mine", registered}, {"other", tarball}})));
  registered["locked"]["owner"] = "mallory";
  CHECK(lock_problem(
      lock_of({{"a", registered}}),
      lock_of({{"mine", theirs.input("a") != nullptr ? *theirs.input("a") : Json()}})));
}

TEST_CASE("a narHash of another commit is refused") {
  Json known = github("nixpkgs", "1234567890");
  known["locked"]["narHash"] = "sha256-good";
  Json claimed = known;
  claimed["original"]["ref"] = "release";
  CHECK_FALSE(lock_problem(lock_of({{"x", claimed}}), lock_of({{"mine", known}})));
  claimed["locked"]["narHash"] = "sha256-evil";
  CHECK(
      lock_problem(lock_of({{"x", claimed}}), lock_of({{"mine", known}})) ==
      "its flake.lock has another narHash for commit 12345678 of github.com/ann/nixpkgs ('x') than "
      "sha256-good");
  CHECK(lock_problem(lock_of({{"x", claimed}, {"y", known}}), lock_of(Json::object())));
  claimed["locked"]["rev"] = "2234567890";
  CHECK_FALSE(lock_problem(lock_of({{"x", claimed}, {"y", known}}), lock_of(Json::object())));
}

// Refusing to go back.

TEST_CASE("no build that is older than the one followed last") {
  Directory directory;
  const fs::path file = directory.path() / "state/followed-builds.json";
  FollowedBuilds followed(file);
  const auto first = record_of("a", 12, "2026-01-15T12:00:00Z");
  CHECK_FALSE(followed.going_back("x", first));
  followed.note("x", first);
  followed.save();

  const FollowedBuilds again(file);
  CHECK_FALSE(again.going_back("x", first));
  CHECK_FALSE(again.going_back("x", record_of("a", 13, "2026-01-15T11:00:00Z")));
  CHECK(again.going_back("x", record_of("a", 11, "2026-01-16T12:00:00Z")));
  CHECK_FALSE(again.going_back("y", record_of("a", 11, "2026-01-16T12:00:00Z")));
  // A server that lost its history.
  CHECK_FALSE(again.going_back("x", record_of("b", 1, "2026-01-15T12:00:01Z")));
  CHECK(again.going_back("x", record_of("b", 1, "2026-01-15T12:00:00Z")));
  CHECK(again.going_back("x", record_of("b", 99, "2025-01-15T12:00:00Z")));
}

TEST_CASE("two runs remember what both have followed") {
  Directory directory;
  const fs::path file = directory.path() / "followed-builds.json";
  FollowedBuilds one(file);
  FollowedBuilds other(file);
  one.note("x", record_of("a", 12, "2026-01-15T12:00:00Z"));
  one.save();
  other.note("y", record_of("a", 12, "2026-01-15T12:00:00Z"));
  other.save();
  const FollowedBuilds both(file);
  CHECK(both.going_back("x", record_of("a", 11, "2026-01-15T12:00:00Z")));
  CHECK(both.going_back("y", record_of("a", 11, "2026-01-15T12:00:00Z")));
}

TEST_CASE("a damaged memory is not taken for an empty one") {
  Directory directory;
  const fs::path file = directory.path() / "followed-builds.json";
  for (const char* text : {"", "[]", R"({"x":1})", R"({"x":{"history":"a","build":1}})",
                           R"({"x":{"history":"a","build":1,"finish":"soon"}})"}) {
    write_file_atomic(file, text, 0600);
    CHECK_THROWS_AS(FollowedBuilds{file}, Error);
  }
}

TEST_CASE("what changed between two locks") {
  const auto before = lock_of({{"a", github("a", "1234567890")}, {"gone", github("g", "1")}});
  Json dated = github("new", "x");
  dated["locked"] = {{"lastModified", 1736951400}};
  const auto after = lock_of({{"a", github("a", "2234567890")}, {"new", dated}});
  const auto changes = input_changes(&before, after);
  REQUIRE(changes.size() == 3);
  CHECK(changes[0].before == "12345678");
  CHECK(changes[0].after == "22345678");
  CHECK(changes[1].after.empty());
  CHECK(changes[2].after == "2025-01-15");
  CHECK(input_changes(&after, after).empty());
  CHECK(input_changes(nullptr, after).size() == 2);
}

TEST_CASE("inputs of inputs change, too") {
  const auto lock = [](const char* rev) {
    auto nodes = Json{{"root", {{"inputs", {{"a", "a"}}}}}, {"a", github("a", "1")}};
    nodes["a"]["inputs"] = {{"b", "b"}, {"follows", Json::array({"a", "b"})}};
    nodes["b"] = github("b", rev);
    return nix::FlakeLock::parse(Json{{"version", 7}, {"root", "root"}, {"nodes", nodes}}.dump());
  };
  const auto before = lock("1");
  const auto changes = input_changes(&before, lock("2"));
  REQUIRE(changes.size() == 1);
  CHECK(changes[0].name == "a/b");

  auto nodes = Json{{"root", {{"inputs", {{"a", "a"}}}}}, {"a", github("a", "1")}};
  nodes["a"]["inputs"]["a"] = "a";
  const auto cycle =
      nix::FlakeLock::parse(Json{{"version", 7}, {"root", "root"}, {"nodes", nodes}}.dump());
  CHECK_THROWS_AS(input_changes(&before, cycle), FormatError);
}

// Generations.

TEST_CASE("names and versions in store paths") {
  CHECK(split_package_name("firefox-120.0") == PackageName{"firefox", "120.0"});
  CHECK(split_package_name("openssl-3.0.12-bin") == PackageName{"openssl", "3.0.12"});
  CHECK(split_package_name("python3.11-requests-2.31") ==
        PackageName{"python3.11-requests", "2.31"});
  CHECK(split_package_name("nix-2.26.3pre-dirty") == PackageName{"nix", "2.26.3pre-dirty"});
  CHECK(split_package_name("home-manager-path") == PackageName{"home-manager-path", ""});
  CHECK(split_package_name("x-") == PackageName{"x-", ""});
  CHECK(split_package_name("") == PackageName{"", ""});
}

TEST_CASE("what is in one closure and not in the other") {
  Closure before = parse_closure(path(hash_a, "curl-8.1") + path(hash_a, "curl-8.1-bin") +
                                 path(hash_a, "nano-7") + path(hash_a, "same-1") + "warning: x\n");
  Closure after = parse_closure(path(hash_b, "curl-8.2") + path(hash_b, "htop-3") +
                                path(hash_b, "same-1") + path(hash_a, "unversioned"));
  CHECK(before.paths.size() == 4);
  before.size = 1'000'000;
  after.size = 400'000;
  const ClosureChanges changes = compare(before, after);
  CHECK(changes.rebuilt == 1);
  CHECK(render(changes, before, after) ==
        "         package      version\n"
        "changed  curl         8.1 → 8.2\n"
        "added    htop         3\n"
        "added    unversioned  (none)\n"
        "removed  nano         7\n"
        "1 paths rebuilt at the same version\n"
        "closure 1.0 MB → 400 kB (-600 kB), 4 → 4 paths\n");
  CHECK(render(compare(after, after), after, after) ==
        "closure 400 kB → 400 kB (+0 B), 4 → 4 paths\n");
}

// This machine's configuration.

TEST_CASE("the configuration's name") {
  const Identity ann{"ann", "laptop.lan", false, true};
  const auto home = [&](const Names& names) {
    return choose_name(ConfigurationKind::home, names, ann);
  };
  CHECK(home({"default", "ann", "ann@laptop", "ann@laptop.lan"}) == "ann@laptop.lan");
  CHECK(home({"default", "ann", "ann@laptop"}) == "ann@laptop");
  CHECK(home({"default", "ann"}) == "ann");
  CHECK(home({"default", "bob"}) == "default");
  CHECK_FALSE(home({"bob", "laptop"}));
  CHECK(choose_name(ConfigurationKind::nixos, {"ann", "laptop"}, ann) == "laptop");
  CHECK_FALSE(choose_name(ConfigurationKind::nixos, {"ann", "ann@laptop"}, ann));
  const Identity root{"root", "laptop", true, true};
  CHECK_FALSE(choose_name(ConfigurationKind::home, {"default"}, root));
  CHECK(choose_name(ConfigurationKind::nixos, {"default"}, root) == "default");
}

TEST_CASE("names in an installable are quoted") {
  CHECK(Configuration{ConfigurationKind::home, "/f", "ann@host.lan"}.installable() ==
        ".#homeConfigurations.\"ann@host.lan\".activationPackage");
  CHECK(Configuration{ConfigurationKind::nixos, "/f", R"(a"$\)"}.installable() ==
        R"(.#nixosConfigurations."a\"\$\\".config.system.build.toplevel)");
}

// Substituters.

TEST_CASE("caches of one's own are asked whether they answer") {
  CHECK(is_own_cache("http://build-server:5000"));
  CHECK_FALSE(is_own_cache("https://cache.nixos.org"));
  CHECK_FALSE(is_own_cache("daemon"));
}

// flake.lock in place.

TEST_CASE("a failed rebuild leaves the lock as it was") {
  const Directory directory;
  write_file_atomic(directory.lock(), "old", 0600);
  LockFile lock = directory.hold();
  CHECK(lock.recover() == LockFile::Recovery::none);
  lock.place("old", "new");
  CHECK(read_file(directory.lock()) == "new");
  lock.restore();
  CHECK(read_file(directory.lock()) == "old");
  struct stat status = {};
  ::stat(directory.lock().c_str(), &status);
  CHECK((status.st_mode & 07777) == 0600);
  CHECK(lock.recover() == LockFile::Recovery::none);

  lock.place("old", "new");
  lock.keep();
  lock.restore();  // nothing is pending any more
  CHECK(read_file(directory.lock()) == "new");
}

TEST_CASE("a lock that was not there goes again") {
  const Directory directory;
  LockFile lock = directory.hold();
  lock.place(std::nullopt, "new");
  lock.restore();
  CHECK_FALSE(fs::exists(directory.lock()));
}

TEST_CASE("what a killed run has left") {
  const Directory directory;
  write_file_atomic(directory.lock(), "old", 0644);
  { directory.hold().place("old", "new"); }
  CHECK(directory.hold().recover() == LockFile::Recovery::restored);
  CHECK(read_file(directory.lock()) == "old");

  { directory.hold().place("old", "new"); }
  write_file_atomic(directory.lock(), "mine", 0644);
  CHECK(directory.hold().recover() == LockFile::Recovery::changed_since);
  CHECK(read_file(directory.lock()) == "mine");
  CHECK(directory.hold().recover() == LockFile::Recovery::none);

  // Killed between the journal and the lock.
  { directory.hold().place("mine", "new"); }
  write_file_atomic(directory.lock(), "mine", 0644);
  CHECK(directory.hold().recover() == LockFile::Recovery::none);
}

TEST_CASE("one at a time") {
  const Directory directory;
  const LockFile lock = directory.hold();
  CHECK_THROWS_AS(directory.hold(), Error);
}
