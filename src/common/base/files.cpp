#include "common/base/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "common/base/error.hpp"
#include "common/base/unique_fd.hpp"

namespace nixbuild {
namespace {

void write_all(int fd, std::string_view content, const std::filesystem::path& path) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      throw SystemError(errno, fmt::format("writing {}", path.string()));
    }
    content.remove_prefix(static_cast<std::size_t>(n));
  }
}

std::filesystem::path parent_of(const std::filesystem::path& path) {
  auto parent = path.parent_path();
  return parent.empty() ? std::filesystem::path(".") : parent;
}

// A file that goes away again unless it reached its place.
class TemporaryFile {
 public:
  TemporaryFile(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { ::unlink(path_.c_str()); }

  const std::string& path() const { return path_; }
  int fd() const { return fd_.get(); }

 private:
  std::string path_;
  UniqueFd fd_;
};

}  // namespace

std::optional<std::string> read_file(const std::filesystem::path& path, std::size_t limit) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    throw SystemError(errno, fmt::format("opening {}", path.string()));
  }
  std::string content;
  std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      throw SystemError(errno, fmt::format("reading {}", path.string()));
    }
    if (n == 0) return content;
    if (content.size() + static_cast<std::size_t>(n) > limit) {
      throw Error(fmt::format("reading {}: longer than {} bytes", path.string(), limit));
    }
    content.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

void write_file_atomic(const std::filesystem::path& path, std::string_view content, mode_t mode,
                       IfExists if_exists) {
  std::string name = (parent_of(path) / ("." + path.filename().string() + ".XXXXXX")).string();
  UniqueFd fd(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd) {
    throw SystemError(errno, fmt::format("creating a file in {}", parent_of(path).string()));
  }
  const TemporaryFile temporary(std::move(name), std::move(fd));
  if (::fchmod(temporary.fd(), mode) != 0) {
    throw SystemError(errno, fmt::format("setting the mode of {}", temporary.path()));
  }
  write_all(temporary.fd(), content, path);
  if (::fsync(temporary.fd()) != 0) {
    throw SystemError(errno, fmt::format("flushing {}", path.string()));
  }
  // link(2) refuses an existing name, in one step; rename(2) replaces it.
  const int placed = if_exists == IfExists::fail ? ::link(temporary.path().c_str(), path.c_str())
                                                 : ::rename(temporary.path().c_str(), path.c_str());
  if (placed != 0) throw SystemError(errno, fmt::format("creating {}", path.string()));
  sync_directory(parent_of(path));
}

void sync_directory(const std::filesystem::path& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throw SystemError(errno, fmt::format("opening {}", path.string()));
  if (::fsync(fd.get()) != 0) throw SystemError(errno, fmt::format("flushing {}", path.string()));
}

}  // namespace nixbuild
