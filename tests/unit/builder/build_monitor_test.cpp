#include "server/builder/build_monitor.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <set>
#include <sstream>

#include "common/base/files.hpp"

using namespace nixbuild;
using namespace nixbuild::builder;

namespace {

// Replays a log in which the derivations are built in this order.
struct Replay {
  explicit Replay(std::vector<std::string> order_) : order(std::move(order_)) {}

  void line(const std::string& text) {
    if (const auto event = nix::log::parse_line(text)) {
      if (const auto* progress = std::get_if<nix::log::Progress>(&*event)) {
        most_done = std::max<std::size_t>(most_done, progress->done);
      }
    }
    monitor.handle_line(text);
    time += std::chrono::milliseconds(100);
  }

  bool is_built(const std::string& derivation) const {
    for (std::size_t i = 0; i < std::min(most_done, order.size()); ++i) {
      if (derivation_name(derivation) == order[i]) return true;
    }
    return false;
  }

  std::vector<std::string> ended() const {
    std::vector<std::string> names;
    for (const auto& one : monitor.ended())
      names.push_back(one.name + (one.failed ? "!" : ""));
    return names;
  }

  const BuildMonitor::Failure* failure(const std::string& name) const {
    for (const auto& [derivation, failure] : monitor.failures()) {
      if (derivation_name(derivation) == name) return &failure;
    }
    return nullptr;
  }

  std::vector<std::string> order;
  std::size_t most_done = 0;
  std::vector<std::string> log;
  std::chrono::system_clock::time_point time{std::chrono::seconds(1'000)};
  BuildMonitor monitor{{[this](std::string_view text) { log.emplace_back(text); },
                        [this](const std::string& derivation) { return is_built(derivation); },
                        [this] { return time; }}};
};

const std::string build_start =
    R"(@nix {{"action":"start","fields":["/nix/store/{}-{}.drv","",1,1],"id":{},"level":3,"text":"building","type":105}})";
const std::string hash = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

std::string start_line(const std::string& name, int id) {
  return fmt::format(fmt::runtime(build_start), hash, name, id);
}
std::string builds_line(int done, int expected, int running, int failed) {
  return fmt::format(R"(@nix {{"action":"result","fields":[{},{},{},{}],"id":1,"type":105}})", done,
                     expected, running, failed);
}
const std::string builds_start = R"(@nix {"action":"start","id":1,"level":0,"text":"","type":104})";

}  // namespace

TEST_CASE("a real build is followed to its end") {
  for (const char* version : {"2.8", "2.26"}) {
    CAPTURE(version);
    const auto text = read_file(fmt::format("{}/nix-{}.log", NIX_LOGS, version));
    REQUIRE(text);
    Replay replay({"forges", "quick", "phases"});
    std::istringstream lines(*text);
    std::uint64_t most_running = 0;
    bool phase_seen = false;
    for (std::string line; std::getline(lines, line);) {
      replay.line(line);
      const auto progress = replay.monitor.progress();
      most_running = std::max<std::uint64_t>(most_running, progress.running.size());
      for (const auto& one : progress.running)
        phase_seen |= one.phase == "buildPhase";
    }
    replay.monitor.finish("exit code 1");
    CHECK(most_running == 3);
    CHECK(phase_seen);
    const auto ended = replay.ended();
    CHECK(std::set<std::string>(ended.begin(), ended.end()) ==
          std::set<std::string>{"forges", "below!", "breaks!", "quick", "phases"});
    CHECK(ended.size() == 5);
    CHECK(ended.front() == "forges");
    CHECK(ended.back() == "phases");
    const auto progress = replay.monitor.progress();
    CHECK(progress.built == 3);
    CHECK(progress.to_build == 3);
    CHECK(progress.failed == 2);  // without the derivations that failed as a consequence
    REQUIRE(progress.failed_names);
    CHECK(std::set<std::string>(progress.failed_names->begin(), progress.failed_names->end()) ==
          std::set<std::string>{"below", "breaks"});
    CHECK(progress.running.empty());

    REQUIRE(replay.failure("breaks"));
    CHECK(replay.failure("breaks")->reason.find("failed with exit code 2") != std::string::npos);
    CHECK(replay.failure("breaks")->log_tail == std::vector<std::string>{"before breaking"});
    CHECK_FALSE(replay.failure("breaks")->is_consequence);
    REQUIRE(replay.failure("needs"));
    CHECK(replay.failure("needs")->is_consequence);
    CHECK(replay.failure("below")->log_tail == std::vector<std::string>{"below line"});
    CHECK_FALSE(replay.failure("forges"));

    const auto& log = replay.log;
    CHECK(std::find(log.begin(), log.end(), "breaks> before breaking") != log.end());
    CHECK(std::find(log.begin(), log.end(), "building quick") != log.end());
  }
}

TEST_CASE("of several that run, the one ends that is in the store") {
  Replay replay({"b", "a"});
  replay.line(builds_start);
  replay.line(start_line("a", 10));
  replay.line(builds_line(0, 2, 1, 0));
  replay.line(start_line("b", 11));
  replay.line(builds_line(0, 2, 2, 0));
  CHECK(replay.ended().empty());
  replay.line(builds_line(1, 2, 1, 0));
  CHECK(replay.ended() == std::vector<std::string>{"b"});
  CHECK(replay.monitor.ended()[0].milliseconds == 200);
  replay.line(builds_line(2, 2, 0, 0));
  CHECK(replay.ended() == std::vector<std::string>{"b", "a"});
  // Nix's own report, much later, changes nothing.
  replay.line(R"(@nix {"action":"stop","id":10})");
  CHECK(replay.ended().size() == 2);
}

TEST_CASE("a consequence of a failure ends no other build") {
  Replay replay({});
  replay.line(builds_start);
  replay.line(start_line("runs", 10));
  replay.line(builds_line(0, 3, 1, 0));
  replay.line(builds_line(0, 2, 1, 1));
  CHECK(replay.ended().empty());
  CHECK(replay.monitor.progress().failed == 1);
}

TEST_CASE("what seems to run when Nix ends has ended") {
  Replay replay({"built"});
  replay.line(start_line("built", 10));
  replay.line(start_line("killed", 11));
  replay.most_done = 1;
  replay.monitor.finish("killed by signal 9");
  CHECK(replay.ended() == std::vector<std::string>{"built", "killed!"});
  REQUIRE(replay.failure("killed"));
  CHECK(replay.failure("killed")->reason == "killed by signal 9");
  CHECK(replay.failure("killed")->is_interrupted);
}

TEST_CASE("reasons as newer versions of Nix word them") {
  Replay replay({});
  replay.line(
      R"(@nix {"action":"msg","level":0,"msg":"error: Cannot build '/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-x.drv'.\n       Reason: builder failed with exit code 7.\n       Output paths:\n         /nix/store/x"})");
  REQUIRE(replay.failure("x"));
  CHECK(replay.failure("x")->reason == "builder failed with exit code 7");
  replay.line(
      R"(@nix {"action":"msg","level":0,"msg":"error: Cannot build '/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-y.drv'.\n       Reason: 1 dependency failed.\n       Output paths:"})");
  REQUIRE(replay.failure("y"));
  CHECK(replay.failure("y")->is_consequence);
  replay.line(
      R"(@nix {"action":"msg","level":0,"msg":"\u001b[31;1merror:\u001b[0m Cannot build '\u001b[35;1m/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-f.drv\u001b[0m'.\n       Reason: \u001b[31;1mmissing system features\u001b[0m\n       Required features: {big, kvm}\n       Available features: {benchmark, kvm}"})");
  REQUIRE(replay.failure("f"));
  CHECK(replay.failure("f")->reason ==
        "missing system features (required features: {big, kvm}, available features: {benchmark, "
        "kvm})");
  replay.line(
      R"(@nix {"action":"msg","level":0,"msg":"error: hash mismatch in fixed-output derivation '/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-h.drv':\n         specified: sha256-AAAA\n            got:    sha256-c8s4="})");
  REQUIRE(replay.failure("h"));
  CHECK(
      replay.failure("h")->reason.ends_with("-h.drv' (specified: sha256-AAAA, got: sha256-c8s4=)"));
}

TEST_CASE("no line of a builder reads like one of this program") {
  Replay replay({});
  replay.line(start_line("x", 10));
  replay.log.clear();
  // Text that a terminal would show over the prefix.
  replay.line(R"(@nix {"action":"result","fields":["a\rbuild 1 succeeded"],"id":10,"type":101})");
  replay.line(
      R"(@nix {"action":"result","fields":["@nix {\"action\":\"x\"}"],"id":10,"type":101})");
  // Messages from a builder that Nix passes on.
  replay.line(R"(@nix {"action":"msg","level":1,"msg":"one\nbuild 1 succeeded, 5 outputs"})");
  replay.line(R"(@nix {"action":"start","id":12,"level":0,"text":"build 1 succeeded","type":101})");
  replay.line(R"(@nix {"action":"result","fields":["build 1 failed"],"id":99,"type":101})");
  replay.line("@nix not JSON");
  CHECK(replay.log == std::vector<std::string>{"x> build 1 succeeded", R"(x> @nix {"action":"x"})",
                                               "nix: one", "nix: build 1 succeeded, 5 outputs",
                                               "nix: build 1 succeeded", "nix: build 1 failed",
                                               "nix: @nix not JSON"});
}

TEST_CASE("copies are counted in paths and bytes") {
  Replay replay({});
  replay.line(R"(@nix {"action":"start","id":2,"level":0,"text":"","type":103})");
  replay.line(R"(@nix {"action":"result","fields":[0,2,0,0],"id":2,"type":105})");
  replay.line(R"(@nix {"action":"result","fields":[100,5000],"id":3,"type":106})");
  replay.line(
      R"(@nix {"action":"start","fields":["/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-p","http://c","local"],"id":4,"level":3,"text":"copying path","type":100})");
  replay.line(R"(@nix {"action":"result","fields":[1000,3000,0,0],"id":4,"type":105})");
  auto progress = replay.monitor.progress();
  CHECK(progress.copied == 0);
  CHECK(progress.to_copy == 2);
  CHECK(progress.bytes_copied == 1000);
  CHECK(progress.bytes_to_copy == 5000);
  CHECK(replay.log.back() == "copying p from http://c");
  replay.line(R"(@nix {"action":"result","fields":[2,2,0,0],"id":2,"type":105})");
  progress = replay.monitor.progress();
  CHECK(progress.copied == 2);
  CHECK(progress.bytes_copied == 5000);
}

TEST_CASE("what is not of Nix's log is passed on") {
  Replay replay({});
  replay.line("error: cannot connect to daemon");
  CHECK(replay.log.back() == "nix: error: cannot connect to daemon");
  CHECK(replay.monitor.last_error() == "cannot connect to daemon");
  replay.line(R"(@nix {"action":"result","fields":["of nobody"],"id":99,"type":101})");
  CHECK(replay.log.back() == "nix: of nobody");
  const auto before = replay.log.size();
  replay.line(R"(@nix {"action":"msg","level":5,"msg":"chatter"})");
  CHECK(replay.log.size() == before);
}

TEST_CASE("the name of a derivation") {
  CHECK(derivation_name("/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-hello-2.12.drv") ==
        "hello-2.12");
  CHECK(derivation_name("nonsense") == "nonsense");
  CHECK(derivation_name("").empty());
}
