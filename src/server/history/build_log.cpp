#include "server/history/build_log.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "common/base/error.hpp"
#include "common/base/terminal.hpp"

namespace nixbuild::history {
namespace {

constexpr std::size_t buffer_size = 65536;
constexpr std::uint64_t tail_limit = std::uint64_t{1} << 20;
constexpr std::uint64_t most_read = std::uint64_t{8} << 20;

class LogFile {
 public:
  explicit LogFile(const std::filesystem::path& file)
      : file_(file), fd_(::open(file.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (!fd_ && errno != ENOENT) {
      throw SystemError(errno, fmt::format("opening {}", file.string()));
    }
  }

  explicit operator bool() const { return static_cast<bool>(fd_); }

  std::uint64_t size() const {
    struct stat status {};
    if (::fstat(fd_.get(), &status) != 0) {
      throw SystemError(errno, fmt::format("reading {}", file_.string()));
    }
    return static_cast<std::uint64_t>(status.st_size);
  }

  // Up to `length` bytes from `offset`; fewer at the end.
  std::string read(std::uint64_t offset, std::size_t length) const {
    std::string bytes(length, '\0');
    std::size_t done = 0;
    while (done < length) {
      const ssize_t n =
          ::pread(fd_.get(), bytes.data() + done, length - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw SystemError(errno, fmt::format("reading {}", file_.string()));
      if (n == 0) break;
      done += static_cast<std::size_t>(n);
    }
    bytes.resize(done);
    return bytes;
  }

 private:
  const std::filesystem::path& file_;
  UniqueFd fd_;
};

// The whole lines of `text`; how many bytes they take.
std::size_t split_lines(std::string_view text, std::vector<std::string>& lines) {
  std::size_t begin = 0;
  for (std::size_t end = text.find('\n'); end != std::string_view::npos;
       end = text.find('\n', begin)) {
    lines.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return begin;
}

}  // namespace

std::string clean_line(std::string_view raw) {
  if (raw.ends_with('\r')) raw.remove_suffix(1);
  if (const std::size_t overwritten = raw.rfind('\r'); overwritten != std::string_view::npos) {
    raw.remove_prefix(overwritten + 1);
  }
  return terminal::printable(raw, max_line_length);
}

std::vector<std::string> last_lines(std::string_view text, std::size_t count) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    lines.push_back(clean_line(text.substr(0, end)));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  while (!lines.empty() && lines.back().empty())
    lines.pop_back();
  if (lines.size() > count) {
    lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(count));
  }
  return lines;
}

BuildLog::BuildLog(const std::filesystem::path& file, std::uint64_t limit)
    : file_(file),
      fd_(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0640)),
      limit_(limit) {
  if (!fd_) throw SystemError(errno, fmt::format("making {}", file.string()));
}

BuildLog::~BuildLog() {
  try {
    close();
  } catch (const Error&) {
    // Whoever has to know calls close() itself.
  }
}

void BuildLog::append(std::string_view raw) {
  if (!fd_) return;
  std::string line = clean_line(raw);
  line += '\n';
  if (size_ + line.size() > limit_ || !tail_.empty()) {
    if (tail_.empty()) {
      buffer_ += fmt::format(
          "[the log is longer than {} MiB: what follows is left out, the end "
          "is shown once the build ends]\n",
          limit_ >> 20);
      write_out();
    }
    tail_bytes_ += line.size();
    tail_.push_back(std::move(line));
    while (tail_bytes_ > tail_limit && tail_.size() > 1) {
      tail_bytes_ -= tail_.front().size();
      ++left_out_lines_;
      left_out_bytes_ += tail_.front().size();
      tail_.pop_front();
    }
    return;
  }
  size_ += line.size();
  buffer_ += line;
  if (buffer_.size() >= buffer_size) write_out();
}

void BuildLog::flush() {
  if (fd_) write_out();
}

void BuildLog::write_out() {
  std::string_view rest = buffer_;
  while (!rest.empty()) {
    const ssize_t n = ::write(fd_.get(), rest.data(), rest.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      const int reason = errno;
      buffer_.erase(0, buffer_.size() - rest.size());
      throw SystemError(reason, fmt::format("writing {}", file_.string()));
    }
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  buffer_.clear();
}

void BuildLog::close() {
  if (!fd_) return;
  if (left_out_lines_ > 0) {
    buffer_ += fmt::format("[{} lines, {} bytes, left out]\n", left_out_lines_, left_out_bytes_);
  }
  for (const std::string& line : tail_)
    buffer_ += line;
  tail_.clear();
  try {
    write_out();
  } catch (const Error&) {
    fd_.reset();
    throw;
  }
  fd_.reset();
}

LogTail read_log_tail(const std::filesystem::path& file, std::size_t lines) {
  const LogFile log(file);
  if (!log) return {};
  constexpr std::size_t chunk_size = 65536;
  // Back from the end until there are enough line ends: those of `lines` lines, and that before.
  const std::uint64_t size = log.size();
  std::uint64_t begin = size;
  std::vector<std::string> chunks;  // last first
  std::size_t ends = 0;
  while (begin > 0 && ends <= lines && size - begin < most_read) {
    const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(chunk_size, begin));
    begin -= length;
    chunks.push_back(log.read(begin, length));
    ends += static_cast<std::size_t>(std::count(chunks.back().begin(), chunks.back().end(), '\n'));
  }
  std::string text;
  for (auto chunk = chunks.rbegin(); chunk != chunks.rend(); ++chunk)
    text += *chunk;
  LogTail tail;
  const std::size_t used = split_lines(text, tail.lines);
  tail.end = begin + used;
  // What the first chunk begins with may be the rest of a line.
  if (begin > 0 && ends <= lines && !tail.lines.empty()) tail.lines.erase(tail.lines.begin());
  const std::size_t wanted = std::min(lines, tail.lines.size());
  tail.lines.erase(tail.lines.begin(), tail.lines.end() - static_cast<std::ptrdiff_t>(wanted));
  return tail;
}

LogTail read_log_from(const std::filesystem::path& file, std::uint64_t offset, std::size_t limit) {
  LogTail result;
  result.end = offset;
  const LogFile log(file);
  // Clients name offsets, which may be larger than any that can be read from.
  if (!log || offset >= log.size()) return result;
  const std::string text = log.read(offset, std::max(limit, 2 * max_line_length));
  result.end = offset + split_lines(text, result.lines);
  return result;
}

}  // namespace nixbuild::history
