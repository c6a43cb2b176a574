#include "server/history/build_log.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "common/base/error.hpp"
#include "common/base/terminal.hpp"

namespace nixbuild::history {
namespace {

constexpr std::size_t buffer_size = 65536;
constexpr std::uint64_t tail_limit = std::uint64_t{1} << 20;

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
    // Callers that need to know about errors call close() themselves.
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

}  // namespace nixbuild::history
