#include "cli/progress_view.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

#include "cli/output.hpp"
#include "cli/table.hpp"
#include "cli/times.hpp"
#include "common/base/terminal.hpp"
#include "common/base/time.hpp"

using namespace nixbuild;
using namespace nixbuild::cli;
using namespace std::chrono_literals;

namespace {

const protocol::Time start = *parse_time("2025-01-15T14:30:00Z");

protocol::BuildStatus building() {
  protocol::BuildStatus status;
  status.is_running = true;
  status.last_start = start;
  status.repository = "nix-terminal";
  status.build_id = 12;
  status.phase = "build";
  status.progress.to_build = 40;
  status.progress.built = 10;
  status.progress.to_copy = 8;
  status.progress.copied = 2;
  status.progress.bytes_to_copy = 120'000'000;
  status.progress.bytes_copied = 3'400'000;
  status.progress.running = {{"/nix/store/a.drv", "hello-2.12", "buildPhase", start + 60s},
                             {"/nix/store/b.drv", "linux-6.1", "", start + 118s}};
  return status;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("the lines of a build that goes on") {
  CHECK(progress_lines(building(), start + 133s, {}) ==
        Lines{
            "nix-terminal #12  build  2m 13s",
            "██████░░░░░░░░░░░░░░░░░░ 10/40 built  2/8 copied (3.4 MB of 120 MB)",
            "  hello-2.12  buildPhase  1m 13s",
            "  linux-6.1  15s",
        });
}

TEST_CASE("other phases") {
  protocol::BuildStatus status = building();
  status.progress = {};
  status.phase = "queued";
  CHECK(progress_lines(status, start + 5s, {}) == Lines{"nix-terminal #12  queued"});
  CHECK(progress_line(status) == "nix-terminal #12: queued");
  status.phase = "evaluate";
  status.progress.targets = 4;
  status.progress.evaluated = 2;
  CHECK(progress_lines(status, start + 5s, {}) ==
        Lines{"nix-terminal #12  evaluate  5s", "████████████░░░░░░░░░░░░ 2/4 evaluated"});
  CHECK(progress_line(status) == "nix-terminal #12: evaluate: 2 of 4 evaluated");
}

TEST_CASE("a plain line") {
  protocol::BuildStatus status = building();
  status.progress.failed = 1;
  CHECK(progress_line(status) ==
        "nix-terminal #12: build: 10 of 40 built, 2 of 8 copied (3.4 MB of 120 MB), 1 failed");
}

TEST_CASE("a fetch says how far git is") {
  protocol::BuildStatus status = building();
  status.phase = "fetch";
  status.progress = {};
  CHECK(progress_line(status) == "nix-terminal #12: fetch");
  status.progress.activity = "Receiving objects:  12% (5/40)\x1b[2J, 3.00 MiB";
  CHECK(progress_line(status) ==
        "nix-terminal #12: fetch: Receiving objects:  12% (5/40), 3.00 MiB");
  CHECK(progress_lines(status, start, {}) ==
        Lines{"nix-terminal #12  fetch  0s", "Receiving objects:  12% (5/40), 3.00 MiB"});
}

TEST_CASE("what failed counts as done, is coloured for itself, and is named") {
  protocol::BuildStatus status = building();
  status.progress = {};
  // Of 24: Nix no longer counts the six failed ones among those to build.
  status.progress.to_build = 18;
  status.progress.built = 6;
  status.progress.failed = 6;
  status.progress.failed_names = {"hello-2.12", "linux\x1b[2J-6.1"};
  CHECK(progress_lines(status, start, {}) == Lines{
                                                 "nix-terminal #12  build  0s",
                                                 "██████xxxxxx░░░░░░░░░░░░ 6/18 built  6 failed",
                                                 "  failed: hello-2.12, linux-6.1, ...",
                                             });
  const std::string bar = progress_lines(status, start, {80, 8, true})[1];
  CHECK(bar.starts_with("\x1b[32m██████\x1b[0m\x1b[31m██████\x1b[0m\x1b[2m░"));
  CHECK(progress_line(status) ==
        "nix-terminal #12: build: 6 of 18 built, 6 failed (hello-2.12, linux-6.1, ...)");

  // A single failure among many is visible.
  status.progress.to_build = 1000;
  status.progress.built = 500;
  status.progress.failed = 1;
  CHECK(progress_lines(status, start, {})[1].find("█x░") != std::string::npos);
  // All is done.
  status.progress.to_build = status.progress.built;
  CHECK(progress_lines(status, start, {})[1].find("░") == std::string::npos);
}

TEST_CASE("no line is wider than the terminal, none but the ones that run is left out") {
  protocol::BuildStatus status = building();
  status.repository = std::string(63, 'r');
  status.progress.running.assign(20, {"/nix/store/a.drv", std::string(90, 'n'), "p", start});
  for (const std::size_t columns : {1U, 5U, 10U, 24U, 40U, 79U, 200U}) {
    for (const bool colour : {false, true}) {
      ViewStyle style{columns, 4, colour};
      const Lines lines = progress_lines(status, start + 10s, style);
      CHECK(lines.size() == 6);
      for (const std::string& line : lines) {
        CAPTURE(line);
        if (columns >= 10) CHECK(terminal::columns(terminal::printable(line)) <= columns);
      }
      if (columns >= 40) CHECK(lines.back() == "  and 17 more");
    }
  }
}

TEST_CASE("colour only where it is asked for") {
  for (const std::string& line : progress_lines(building(), start, {80, 8, false})) {
    CHECK(line.find('\x1b') == std::string::npos);
  }
  CHECK(progress_lines(building(), start, {80, 8, true}).front().find("\x1b[1m") == 0);
  CHECK(with_coloured_mark("✓ done") == "\x1b[32m✓\x1b[0m done");
  CHECK(with_coloured_mark("done") == "done");
}

TEST_CASE("counts beyond the whole, clocks that differ, text that commands") {
  protocol::BuildStatus status = building();
  status.progress.built = 100;
  status.progress.running.front().name = "a\x1b[2Jb";
  const Lines lines = progress_lines(status, start - 1h, {});
  CHECK(lines[0] == "nix-terminal #12  build  0s");
  CHECK(lines[1].starts_with("████████████████████████ 100/40 built"));
  CHECK(lines[2] == "  ab  buildPhase  0s");
}

TEST_CASE("how a build ended") {
  protocol::BuildStatus status = building();
  status.last_finish = start + 133s;
  status.last_status = protocol::BuildResult::success;
  CHECK(result_line(status) == "✓ Build #12 succeeded in 2m 13s");
  status.last_status = protocol::BuildResult::failed;
  status.error = "2 targets failed";
  CHECK(result_line(status) == "✗ Build #12 failed: 2 targets failed");
  status.error = "cancelled";
  CHECK(result_line(status) == "✗ Build #12 was cancelled");
}

TEST_CASE("signs for a terminal without Unicode") {
  CHECK(with_ascii_signs("✓ done ⏳ ✗ █░ cut…") == "[ok] done [..] [x] #- cut~");
  CHECK(with_ascii_signs("caf\xc3\xa9") == "caf\xc3\xa9");
}

TEST_CASE("the reasons of targets are not part of the summary") {
  CHECK(error_summary("1 of 2 targets failed: packages.x: no") == "1 of 2 targets failed");
  CHECK(error_summary("no space left") == "no space left");
}

TEST_CASE("times for people") {
  const protocol::Time now = start + 15 * 24h;
  const TimeStyle people{false, now};
  CHECK(show_age(now + 5s, people) == "now");
  CHECK(show_age(now - 59s, people) == "59 s ago");
  CHECK(show_age(now - 3599s, people) == "59 min ago");
  CHECK(show_age(now - 47h, people) == "47 h ago");
  CHECK(show_age(now - 48h, people) == "2 d ago");
  CHECK(show_age(now - 48h, TimeStyle{true, now}) == "2025-01-28T14:30:00Z");
  CHECK(show_time(start, TimeStyle{true, now}) == "2025-01-15T14:30:00Z");
}

TEST_CASE("a table takes from its widest cells") {
  Table table({"ID", "NAME", "WHAT"});
  table.add({"12", std::string(30, 'n'), std::string(50, 'w')});
  CHECK(table.render(50) == "ID  NAME                    WHAT\n12  " + std::string(21, 'n') +
                                "…  " + std::string(21, 'w') + "…\n");
  CHECK(table.render(1000).find("…") == std::string::npos);
}

TEST_CASE("ages") {
  CHECK(format_age(-5s) == "0s");
  CHECK(format_age(59s) == "59s");
  CHECK(format_age(60s) == "1m 00s");
  CHECK(format_age(3599s) == "59m 59s");
  CHECK(format_age(7325s) == "2h 02m");
  CHECK(format_age(100h) == "100h 00m");
}
