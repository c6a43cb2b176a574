// Nix's output with `--log-format internal-json`: a line "@nix {…}" on standard error for each
// event.
// Source: Nix's JSON logger, src/libutil/logging.cc, whose numbers have been the same since Nix
// 2.4.
//
// Builders write to the same log, and Nix passes on messages that they forge, so nothing important
// may depend on a message's text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace nixbuild::nix::log {

using ActivityId = std::uint64_t;

// Unknown numbers are kept.
enum class ActivityType : std::uint64_t {
  unknown = 0,
  copy_path = 100,      // fields: path, from, to
  file_transfer = 101,  // fields: URL
  realise = 102,
  copy_paths = 103,
  builds = 104,
  build = 105,  // fields: derivation, machine (empty: this one), …
  substitute = 108,
  query_path_info = 109,
  fetch_tree = 112,
};

using Field = std::variant<std::uint64_t, std::string>;

struct Start {
  ActivityId id = 0;
  ActivityType type = ActivityType::unknown;
  int level = 0;
  std::string text;  // for people, may be empty
  std::vector<Field> fields;
  ActivityId parent = 0;

  // The field at `position`; empty if it is missing or a number.
  std::string_view text_field(std::size_t position) const noexcept;
};

struct Stop {
  ActivityId id = 0;
};

struct BuildLogLine {
  ActivityId id = 0;
  std::string line;
};

// The current phase of a build: "unpackPhase".
struct SetPhase {
  ActivityId id = 0;
  std::string phase;
};

// `expected` includes those that are done. Counts bytes for copy_path and file_transfer,
// derivations for builds, paths for copy_paths.
struct Progress {
  ActivityId id = 0;
  std::uint64_t done = 0;
  std::uint64_t expected = 0;
  std::uint64_t running = 0;
  std::uint64_t failed = 0;
};

// The amount of work expected of activities of `type`.
struct SetExpected {
  ActivityId id = 0;
  ActivityType type = ActivityType::unknown;
  std::uint64_t expected = 0;
};

// A result that this program ignores.
struct OtherResult {
  ActivityId id = 0;
  std::uint64_t type = 0;
};

struct Message {
  int level = 0;     // 0 error, 1 warning, 2 notice, 3 information, above: chatter
  std::string text;  // may have several lines and terminal colours
};

using Event =
    std::variant<Start, Stop, BuildLogLine, SetPhase, Progress, SetExpected, OtherResult, Message>;

// Nothing if the line is not an event, but a program's own output. An overlong line, whose middle
// Subprocess omits, is still recognised if it is a BuildLogLine.
std::optional<Event> parse_line(std::string_view line);

}  // namespace nixbuild::nix::log
