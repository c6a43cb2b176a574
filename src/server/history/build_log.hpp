// A build's log for people: logs/REPO/ID.log, lines of valid UTF-8 without control characters but
// tab, whatever the builders wrote.
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

// `raw` as one line of a log: invalid UTF-8 becomes U+FFFD, terminal escape sequences and control
// characters go, of text that a carriage return overwrote the last state stays, and more than
// `max_line_length` bytes are cut off with "…".
std::string clean_line(std::string_view raw);
constexpr std::size_t max_line_length = 16384;

// The last lines of what a program wrote, cleaned.
std::vector<std::string> last_lines(std::string_view text,
                                    std::size_t count = std::string_view::npos);
// So many are told of what failed.
constexpr std::size_t log_tail_lines = 25;

// Appends lines to a log. Past `limit` bytes, lines are no longer written but the last of them are
// kept in memory, and close() writes these behind a note of how much is left out: the reason of a
// failure is at the end.
class BuildLog {
 public:
  static constexpr std::uint64_t default_limit = std::uint64_t{256} << 20;

  // Makes the file, or empties it. Throws SystemError.
  explicit BuildLog(const std::filesystem::path& file, std::uint64_t limit = default_limit);
  ~BuildLog();
  BuildLog(const BuildLog&) = delete;
  BuildLog& operator=(const BuildLog&) = delete;

  // One line, without its end; cleaned. What is appended is seen by readers after flush(), or once
  // 64 KiB have come together. Throws SystemError when the disk is full.
  void append(std::string_view line);
  void flush();
  // Writes what is left. Further lines are dropped.
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
