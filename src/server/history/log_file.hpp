// Reads logs of builds in pieces: memory usage depends neither on a log's length nor on a client's
// request.
//
// The log directory belongs to the builds' user, so it can contain anything: no symbolic link is
// followed, and only regular files are opened.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/unique_fd.hpp"

namespace nixbuild::history {

class StateLayout;

class LogFile {
 public:
  // Nothing if there is no log, or it is not a regular file, which is logged. Throws SystemError.
  static std::optional<LogFile> open(const StateLayout& layout, std::string_view repository,
                                     std::int64_t build);
  explicit LogFile(UniqueFd fd) : fd_(std::make_shared<const UniqueFd>(std::move(fd))) {}

  // All of these throw SystemError. Offsets and sizes are in bytes.

  std::uint64_t size() const;

  // The range of the last `lines` whole lines, or fewer if they take more than 8 MiB. Excludes a
  // last line that is still being written.
  struct Range {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;  // where the next line begins
  };
  Range tail(std::size_t lines) const;

  // The whole lines from `offset` up to `end`, including line ends: at most `limit` bytes, which
  // must be at least 2 * max_line_length.
  std::string read_lines(std::uint64_t offset, std::size_t limit,
                         std::uint64_t end = std::numeric_limits<std::uint64_t>::max()) const;

  const std::shared_ptr<const UniqueFd>& descriptor() const noexcept { return fd_; }

 private:
  std::string read(std::uint64_t offset, std::size_t length) const;

  std::shared_ptr<const UniqueFd> fd_;
};

}  // namespace nixbuild::history
