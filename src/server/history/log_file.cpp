#include "server/history/log_file.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/base/log.hpp"
#include "server/history/build_log.hpp"
#include "server/history/state_layout.hpp"

namespace nixbuild::history {
namespace {

constexpr std::size_t chunk_size = 65536;
constexpr std::uint64_t longest_tail = std::uint64_t{8} << 20;

}  // namespace

std::optional<LogFile> LogFile::open(const StateLayout& layout, std::string_view repository,
                                     std::int64_t build) {
  const std::filesystem::path file = layout.log(repository, build);
  try {
    auto fd = open_beneath(layout.all_logs(), file.lexically_relative(layout.all_logs()));
    if (!fd) return std::nullopt;
    return LogFile(std::move(*fd));
  } catch (const SystemError&) {
    throw;
  } catch (const Error& error) {
    log::warn("ignoring a log: {}", error.what());
    return std::nullopt;
  }
}

std::uint64_t LogFile::size() const {
  struct stat status {};
  if (::fstat(fd_->get(), &status) != 0) throw SystemError(errno, "reading the log of a build");
  return static_cast<std::uint64_t>(status.st_size);
}

// Returns fewer bytes at the end of the file.
std::string LogFile::read(std::uint64_t offset, std::size_t length) const {
  std::string bytes(length, '\0');
  std::size_t done = 0;
  while (done < length) {
    const ssize_t n =
        ::pread(fd_->get(), bytes.data() + done, length - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw SystemError(errno, "reading the log of a build");
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  bytes.resize(done);
  return bytes;
}

// Searches line ends backwards: the first wanted line begins after the line end before it.
LogFile::Range LogFile::tail(std::size_t lines) const {
  const std::uint64_t size = this->size();
  Range range{size, size};
  std::size_t ends = 0;
  for (std::uint64_t begin = size; begin > 0 && size - begin < longest_tail;) {
    const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(chunk_size, begin));
    begin -= length;
    const std::string chunk = read(begin, length);
    for (std::size_t at = chunk.rfind('\n'); at != std::string::npos;
         at = at == 0 ? std::string::npos : chunk.rfind('\n', at - 1)) {
      if (ends == 0) range.end = begin + at + 1;
      range.begin = begin + at + 1;
      if (ends++ == lines) return range;
    }
    if (begin == 0) range.begin = 0;
  }
  // If there is only an unfinished line, there are no whole lines.
  if (ends == 0) range.begin = range.end = range.begin == 0 ? 0 : size;
  return range;
}

std::string LogFile::read_lines(std::uint64_t offset, std::size_t limit, std::uint64_t end) const {
  // Clients provide offsets, which may be larger than any that can be read from.
  end = std::min(end, size());
  if (offset >= end) return {};
  limit = std::max(limit, 2 * max_line_length);
  std::string text =
      read(offset, static_cast<std::size_t>(std::min<std::uint64_t>(limit, end - offset)));
  text.resize(text.rfind('\n') + 1);  // empty if there is none
  return text;
}

}  // namespace nixbuild::history
