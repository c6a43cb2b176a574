#include "common/base/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/openat2.h>
#include <sys/syscall.h>
#endif

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>

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

std::string read_all(int fd, const std::filesystem::path& path, std::size_t limit) {
  std::string content;
  std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
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

UniqueFd root_of(const std::filesystem::path& directory) {
  UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd && errno != ENOENT && errno != ENOTDIR) {
    throw SystemError(errno, fmt::format("opening {}", directory.string()));
  }
  return fd;
}

// Opens each part relative to the previous one.
UniqueFd open_part_by_part(int root, const std::filesystem::path& path, int flags) {
  UniqueFd current;
  int parent = root;
  for (auto part = path.begin(); part != path.end(); ++part) {
    if (part->empty()) continue;  // after a trailing slash
    if (*part == ".." || part->is_absolute()) {
      errno = EXDEV;
      return {};
    }
    const bool is_last = std::next(part) == path.end();
    UniqueFd next(::openat(parent, part->c_str(),
                           O_CLOEXEC | O_NOFOLLOW | (is_last ? flags : O_RDONLY | O_DIRECTORY)));
    if (!next) {
      // ENOTDIR also means a symbolic link where a directory was expected.
      struct stat status {};
      if (errno == ENOTDIR && ::fstatat(parent, part->c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = S_ISLNK(status.st_mode) ? ELOOP : ENOTDIR;
      }
      return {};
    }
    current = std::move(next);
    parent = current.get();
  }
  return current;
}

// On failure errno is set: ELOOP or EXDEV if `path` leads through a symbolic link or out of `root`.
UniqueFd open_at(int root, const std::filesystem::path& path, int flags) {
  if (root < 0) return {};
#ifdef SYS_openat2
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC | O_NOFOLLOW);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  const long fd = ::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how);
  if (fd >= 0) return UniqueFd(static_cast<int>(fd));
  // System call filters such as systemd's RestrictSUIDSGID forbid it altogether, because they
  // cannot inspect its argument.
  if (errno != ENOSYS && errno != EPERM) return {};
#endif
  return open_part_by_part(root, path, flags);
}

// A temporary file that is deleted unless it was moved into place.
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
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    throw SystemError(errno, fmt::format("opening {}", path.string()));
  }
  return read_all(fd.get(), path, limit);
}

std::optional<UniqueFd> open_beneath(const std::filesystem::path& directory,
                                     const std::filesystem::path& path) {
  const std::filesystem::path full = directory / path;
  UniqueFd fd = open_at(root_of(directory).get(), path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!fd) {
    switch (errno) {
      case ENOENT:
      case ENOTDIR:
        return std::nullopt;
      case ELOOP:
      case EXDEV:
        throw Error(fmt::format("opening {}: it is or lies behind a symbolic link", full.string()));
      case ENXIO:  // a socket
        throw Error(fmt::format("opening {}: not a regular file", full.string()));
      default:
        throw SystemError(errno, fmt::format("opening {}", full.string()));
    }
  }
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) {
    throw SystemError(errno, fmt::format("opening {}", full.string()));
  }
  if (!S_ISREG(status.st_mode)) {
    throw Error(fmt::format("opening {}: not a regular file", full.string()));
  }
  return fd;
}

std::optional<std::string> read_file_beneath(const std::filesystem::path& directory,
                                             const std::filesystem::path& path, std::size_t limit) {
  const auto fd = open_beneath(directory, path);
  if (!fd) return std::nullopt;
  return read_all(fd->get(), directory / path, limit);
}

bool exists_beneath(const std::filesystem::path& directory, const std::filesystem::path& path) {
  const UniqueFd parent =
      open_at(root_of(directory).get(), path.has_parent_path() ? path.parent_path() : ".",
              O_RDONLY | O_DIRECTORY);
  struct stat status {};
  return parent &&
         ::fstatat(parent.get(), path.filename().c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
}

bool is_at_or_below(const std::filesystem::path& path, const std::filesystem::path& directory) {
  return std::mismatch(directory.begin(), directory.end(), path.begin(), path.end()).first ==
         directory.end();
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
