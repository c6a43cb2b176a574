#include "server/builder/git_progress.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace nixbuild::builder;
using namespace std::chrono_literals;

namespace {

struct Fetch {
  GitProgress::Clock::time_point time{1h};
  std::vector<std::string> log;
  std::vector<std::string> shown;
  GitProgress progress{{[this](std::string_view line) { log.emplace_back(line); },
                        [this](const std::string& activity) { shown.push_back(activity); },
                        [this] { return time; }}};
};

}  // namespace

TEST_CASE("git progress: what git overwrites is shown once a second") {
  Fetch fetch;
  CHECK(fetch.progress.handle_line("remote: Counting objects:  11% (1/9)        \r"));
  CHECK(fetch.progress.handle_line("remote: Counting objects:  22% (2/9)        \r"));
  fetch.time += 1s;
  CHECK(fetch.progress.handle_line("Receiving objects:  50% (5/10), 3.00 MiB | 1.00 MiB/s\r"));
  CHECK(fetch.progress.handle_line("Receiving objects: 100% (10/10), 6.00 MiB, done."));
  CHECK(fetch.shown ==
        std::vector<std::string>{"remote: Counting objects:  11% (1/9)",
                                 "Receiving objects:  50% (5/10), 3.00 MiB | 1.00 MiB/s",
                                 "Receiving objects: 100% (10/10), 6.00 MiB, done."});
  CHECK(fetch.log.empty());
}

TEST_CASE("git progress: only a long fetch is logged, now and then and at the end of a stage") {
  Fetch fetch;
  fetch.time += 4s;
  fetch.progress.handle_line("Receiving objects:   1% (1/100)\r");
  CHECK(fetch.log.empty());
  for (int second = 5; second <= 45; ++second) {
    fetch.time += 1s;
    fetch.progress.handle_line("Receiving objects:  " + std::to_string(second) + "% (1/2)\r");
  }
  fetch.progress.handle_line("Receiving objects: 100% (2/2), done.");
  CHECK(fetch.log == std::vector<std::string>{"git: Receiving objects:  5% (1/2)",
                                              "git: Receiving objects:  35% (1/2)",
                                              "git: Receiving objects: 100% (2/2), done."});
}

TEST_CASE("git progress: all else is the caller's, and a remote's text is cleaned and cut") {
  Fetch fetch;
  CHECK_FALSE(fetch.progress.handle_line("fatal: early EOF"));
  CHECK_FALSE(fetch.progress.handle_line("From https://git.example/demo"));
  CHECK_FALSE(fetch.progress.handle_line(""));
  CHECK(fetch.progress.handle_line("\r"));
  CHECK(fetch.shown.empty());
  CHECK(fetch.progress.handle_line("remote: \x1b[31m" + std::string(5000, 'x') + "\r"));
  CHECK(fetch.shown.at(0).size() < 300);
  CHECK(fetch.shown.at(0).find('\x1b') == std::string::npos);
}
