#include "common/nix/flake_lock.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

#include "common/base/error.hpp"

using namespace nixbuild;
using namespace nixbuild::nix;
using Json = nlohmann::json;
using Names = std::vector<std::string>;

namespace {

// A node that is locked to a revision.
Json node(const std::string& place, const std::string& rev, Json inputs = Json::object()) {
  Json result = {
      {"locked", {{"type", "git"}, {"url", "file://" + place}, {"rev", rev}}},
      {"original", {{"type", "git"}, {"url", "file://" + place}}},
  };
  if (!inputs.empty()) result["inputs"] = std::move(inputs);
  return result;
}

FlakeLock lock(Json root_inputs, Json nodes) {
  nodes["root"] = {{"inputs", std::move(root_inputs)}};
  return FlakeLock::parse(Json{{"version", 7}, {"root", "root"}, {"nodes", nodes}}.dump());
}

// The laptop's lock: `tools` follows its nixpkgs.
FlakeLock mine() {
  return lock({{"nixpkgs", "nixpkgs"}, {"tools", "tools"}, {"home", "home"}},
              {{"nixpkgs", node("/nixpkgs", "n1")},
               {"home", node("/home", "h1", {{"nixpkgs", Json::array({"nixpkgs"})}})},
               {"tools", node("/tools", "t1",
                              {{"nixpkgs", Json::array({"nixpkgs"})}, {"editor", "editor"}})},
               {"editor", node("/editor", "e1",
                               {{"nixpkgs", Json::array({"tools", "nixpkgs"})}, {"old", "old"}})},
               {"old", node("/old", "o1")}});
}

// The lock that the server has built `tools` with.
FlakeLock built() {
  return lock({{"nixpkgs", "nixpkgs"}, {"editor", "editor"}, {"more", "more"}, {"home", "home_2"}},
              {{"nixpkgs", node("/nixpkgs", "n2")},
               {"editor", node("/editor", "e2", {{"nixpkgs", Json::array({"nixpkgs"})}})},
               {"more", node("/more", "m2", {{"editor", "editor_2"}})},
               {"editor_2", node("/other-editor", "x2")},
               {"home_2", node("/home", "h2",
                               {{"nixpkgs", Json::array({"nixpkgs"})},
                                {"self", Json::array({"home", "deep"})},
                                {"deep", "deep"}})},
               {"deep", node("/deep", "d2")}});
}

Json json_of(const FlakeLock& lock) {
  return Json::parse(lock.text())["nodes"];
}

}  // namespace

TEST_CASE("inputs without those that follow") {
  const FlakeLock one = lock({{"a", "a"}, {"b", Json::array({"a"})}}, {{"a", node("/a", "1")}});
  CHECK(one.inputs() == Names{"a"});
  CHECK(FlakeLock::locked_of(*one.input("a")).at("rev") == "1");
  CHECK(one.input("b") == nullptr);
  CHECK(one.input("c") == nullptr);
}

TEST_CASE("a lock reads back as Nix writes it") {
  const std::string text =
      "{\n  \"nodes\": {\n    \"root\": {}\n  },\n  \"root\": \"root\",\n  \"version\": 7\n}\n";
  CHECK(FlakeLock::parse(text).text() == text);
  CHECK(FlakeLock::parse(text).inputs().empty());
}

TEST_CASE("what is no lock") {
  for (const char* text : {
           "",
           "[]",
           "{}",
           R"({"version":4,"root":"r","nodes":{"r":{}}})",
           R"({"version":7,"root":"r","nodes":{}})",
           R"({"version":7,"nodes":{"root":{}}})",
           R"({"version":7,"root":"r","nodes":{"r":1}})",
           R"({"version":7,"root":"r","nodes":{"r":{"original":1}}})",
           R"({"version":7,"root":"r","nodes":{"r":{"locked":{"type":1}}}})",
           R"({"version":7,"root":"r","nodes":{"r":{"flake":"no"}}})",
           R"({"version":7,"root":"r","nodes":{"r":{"inputs":[]}}})",
           R"({"version":7,"root":"r","nodes":{"r":{"inputs":{"a":"gone"}}}})",
           R"({"version":7,"root":"r","nodes":{"r":{"inputs":{"a":[1]}}}})",
       }) {
    CAPTURE(text);
    CHECK_THROWS_AS(FlakeLock::parse(text), FormatError);
  }
}

TEST_CASE("an input takes the tree that was built, but for what this flake lets it follow") {
  FlakeLock merged = mine();
  merged.take("tools", {{"rev", "t2"}}, built(), FlakeLock::Below::root);
  const Json nodes = json_of(merged);
  const Json& tools = nodes["tools"];
  CHECK(tools["locked"] == Json{{"rev", "t2"}});
  CHECK(tools["original"] == node("/tools", "")["original"]);
  CHECK(tools["inputs"]["nixpkgs"] == Json::array({"nixpkgs"}));

  const Json& editor = nodes[tools["inputs"]["editor"].get<std::string>()];
  CHECK(editor["locked"]["rev"] == "e2");
  // What followed the root's input in the build follows `tools`' own input here.
  CHECK(editor["inputs"] == Json{{"nixpkgs", Json::array({"tools", "nixpkgs"})}});
  const Json& more = nodes[tools["inputs"]["more"].get<std::string>()];
  CHECK(nodes[more["inputs"]["editor"].get<std::string>()]["locked"]["rev"] == "x2");
  CHECK(tools["inputs"].contains("home"));

  CHECK_FALSE(nodes.contains("old"));
  CHECK(nodes["nixpkgs"]["locked"]["rev"] == "n1");
  CHECK(nodes["home"]["locked"]["rev"] == "h1");
  CHECK(FlakeLock::parse(merged.text()).text() == merged.text());
}

TEST_CASE("an input takes that of the same name") {
  FlakeLock merged = mine();
  const FlakeLock other = built();
  merged.take("home", FlakeLock::locked_of(*other.input("home")), other,
              FlakeLock::Below::same_input);
  const Json nodes = json_of(merged);
  CHECK(nodes["home"]["locked"]["rev"] == "h2");
  CHECK(nodes["home"]["inputs"]["nixpkgs"] == Json::array({"nixpkgs"}));
  CHECK(nodes["home"]["inputs"]["self"] == Json::array({"home", "deep"}));
  CHECK(nodes[nodes["home"]["inputs"]["deep"].get<std::string>()]["locked"]["rev"] == "d2");
}

TEST_CASE("taking twice is taking once") {
  FlakeLock once = mine();
  once.take("tools", {{"rev", "t2"}}, built(), FlakeLock::Below::root);
  FlakeLock twice = once;
  twice.take("tools", {{"rev", "t2"}}, built(), FlakeLock::Below::root);
  twice.take("tools", {{"rev", "t2"}}, built(), FlakeLock::Below::root);
  CHECK(twice.text() == once.text());
}

TEST_CASE("a lock that goes in circles") {
  FlakeLock merged = mine();
  const FlakeLock circle = lock({{"a", "a"}}, {{"a", node("/a", "1", {{"a", "a"}})}});
  CHECK_THROWS_AS(merged.take("tools", {}, circle, FlakeLock::Below::root), FormatError);

  // Each of 30 nodes has the next one as two inputs: 2^30 paths.
  Json nodes = {{"29", node("/29", "1")}};
  for (int i = 0; i < 29; ++i) {
    const std::string next = std::to_string(i + 1);
    nodes[std::to_string(i)] = node("/x", "1", {{"a", next}, {"b", next}});
  }
  const FlakeLock ladder = lock({{"a", "0"}}, nodes);
  CHECK_THROWS_AS(merged.take("tools", {}, ladder, FlakeLock::Below::root), FormatError);
}

TEST_CASE("one place in many ways") {
  const auto place = [](const char* text) { return origin_of(Json::parse(text)).place; };
  for (const char* text : {
           R"({"type":"github","owner":"NixOS","repo":"nixpkgs","ref":"nixos-unstable"})",
           R"({"type":"git","url":"https://github.com/nixos/nixpkgs.git"})",
           R"({"type":"git","url":"ssh://git@github.com/NixOS/nixpkgs/"})",
       }) {
    CHECK(place(text) == "github.com/nixos/nixpkgs");
  }
  CHECK(place_of_url("git@github.com:NixOS/nixpkgs.git") == "github.com/nixos/nixpkgs");
  CHECK(place_of_url("https://user:secret@host:8443/A/b") == "host:8443/a/b");
  CHECK(place_of_url("host:A@b/c") == "host/a@b/c");
  for (const char* url :
       {"git@host:/srv/x.git", "host:srv/x", "ssh://git@host/srv/x/", "ssh://host:22/srv/x",
        "https://host:443/srv/x.git", "git://host:9418/srv/x", "git+ssh://a@host:22/srv/x"}) {
    CAPTURE(url);
    CHECK(place_of_url(url) == "host/srv/x");
  }
  CHECK(place_of_url("ssh://host:2222/srv/x") == "host:2222/srv/x");
  CHECK(place_of_url("/srv/Git/x.git") == "/srv/Git/x");
  CHECK(place_of_url("file:///srv/Git/x/") == "/srv/Git/x");
  CHECK(place_of_url("git+file:///srv/x?ref=dev") == "/srv/x");
  CHECK(place(R"({"type":"gitlab","owner":"a","repo":"b","host":"git.example.org"})") ==
        "git.example.org/a/b");
  CHECK(place(R"({"type":"sourcehut","owner":"~a","repo":"b"})") == "git.sr.ht/~a/b");
  CHECK(place(R"({"type":"indirect","id":"nixpkgs"})") == "flake:nixpkgs");
  CHECK(place(R"({"type":"path","path":"/x"})") == "path:/x");
  CHECK(place(R"({"type":"tarball","url":"https://x/y.tar.gz"})") == "tarball:https://x/y.tar.gz");
  CHECK(place("{}") == ":");
}

TEST_CASE("what else an origin says") {
  const Origin origin = origin_of(
      Json::parse(R"({"type":"git","url":"/x","ref":"refs/heads/dev","dir":"sub","rev":"1"})"));
  CHECK(origin.ref == "dev");
  CHECK(origin.dir == "sub");
  CHECK(origin.is_fixed);
  CHECK_FALSE(origin_of(Json::parse(R"({"type":"git","url":"/x"})")).ref);
}

TEST_CASE("since when an input is updated by its name") {
  CHECK_FALSE(updates_by_name("nix (Nix) 2.8.0\n"));
  CHECK_FALSE(updates_by_name("nix (Nix) 2.18.9"));
  CHECK(updates_by_name("nix (Nix) 2.19.0"));
  CHECK(updates_by_name("nix (Nix) 2.26.3\n"));
  CHECK(updates_by_name("nix (Lix, like Nix) 2.91.1"));
  CHECK(updates_by_name("nix (Nix) 3.0"));
  CHECK(updates_by_name(""));
}
