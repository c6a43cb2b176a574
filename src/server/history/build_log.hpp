// A build's log for people: logs/REPO/ID.log. Whatever the builders wrote, its lines are valid
// UTF-8 without control characters except tab.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/unique_fd.hpp"

namespace nixbuild::history {

// Converts `raw` to one line of a log: replaces invalid UTF-8 by U+FFFD, removes terminal escape
// sequences and control characters, keeps only the final state of text overwritten by carriage
// returns, and truncates after `max_line_length` bytes, with "…".
std::string clean_line(std::string_view raw);
constexpr std::size_t max_line_length = 16384;

// The last lines of a program's output, cleaned.
std::vector<std::string> last_lines(std::string_view text,
                                    std::size_t count = std::string_view::npos);
// Number of log lines kept for a failure.
constexpr std::size_t log_tail_lines = 25;

// Appends lines to a log. After `limit` bytes, lines are no longer written, but the last ones are
// kept in memory, because the reason of a failure is at the end. close() writes them after a note
// saying how much was omitted.
class BuildLog {
 public:
  static constexpr std::uint64_t default_limit = std::uint64_t{256} << 20;

  // Creates or truncates the file. Throws SystemError.
  explicit BuildLog(const std::filesystem::path& file, std::uint64_t limit = default_limit);
  ~BuildLog();
  BuildLog(const BuildLog&) = delete;
  BuildLog& operator=(const BuildLog&) = delete;

  // Adds one line, given without its line end, after cleaning it. Readers see it after flush(), or
  // once 64 KiB are buffered. Throws SystemError if the disk is full.
  void append(std::string_view line);
  void flush();
  // Writes the rest. Later lines are ignored.
  void close();

 private:
  void write_out();

  std::filesystem::path file_;
  UniqueFd fd_;
  std::uint64_t limit_;
  std::uint64_t size_ = 0;  // written and buffered
  std::string buffer_;
  std::deque<std::string> tail_;  // once past the limit
  std::uint64_t tail_bytes_ = 0;
  std::uint64_t left_out_lines_ = 0;
  std::uint64_t left_out_bytes_ = 0;
};

}  // namespace nixbuild::history
