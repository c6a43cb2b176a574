#include "server/history/build_lock.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string>
#include <thread>

#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/base/time.hpp"
#include "server/history/history.hpp"
#include "server/history/state_layout.hpp"

namespace nixbuild::history {
namespace {

constexpr mode_t lock_mode = 0660;
constexpr std::size_t lock_text_limit = 64;  // bytes

struct flock whole_file() {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

bool probe(int fd, const std::filesystem::path& file) {
  struct flock lock = whole_file();
  if (::fcntl(fd, F_OFD_GETLK, &lock) != 0) {
    throw SystemError(errno, fmt::format("asking for the lock {}", file.string()));
  }
  return lock.l_type != F_UNLCK;
}

UniqueFd open_for_probe(const std::filesystem::path& file) {
  // The directory belongs to the builds' user: a link or a FIFO there must have no effect.
  UniqueFd fd(::open(file.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!fd && errno != ENOENT && errno != ENOTDIR) {
    throw SystemError(errno, fmt::format("opening {}", file.string()));
  }
  return fd;
}

}  // namespace

std::optional<FileLock> FileLock::try_take(const std::filesystem::path& file) {
  UniqueFd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, lock_mode));
  if (!fd) throw SystemError(errno, fmt::format("opening {}", file.string()));
  // The group must have access whatever the umask. Only the owner can change the mode, so ignore
  // failures.
  static_cast<void>(::fchmod(fd.get(), lock_mode));
  struct flock lock = whole_file();
  if (::fcntl(fd.get(), F_OFD_SETLK, &lock) != 0) {
    if (errno == EAGAIN || errno == EACCES) return std::nullopt;
    throw SystemError(errno, fmt::format("locking {}", file.string()));
  }
  // For lock_holder(): the kernel does not report the holder of an open file's lock. A full disk
  // must not prevent the build, which then cannot be cancelled by other processes.
  const std::string pid = fmt::format("{:<10}\n", ::getpid());
  static_cast<void>(::pwrite(fd.get(), pid.data(), pid.size(), 0));
  return FileLock(std::move(fd));
}

std::optional<pid_t> lock_holder(const std::filesystem::path& file) {
  const auto text = read_file_beneath(file.parent_path(), file.filename(), lock_text_limit);
  if (!text || !is_locked(file)) return std::nullopt;
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), pid);
  if (error != std::errc() || end == text->data() || pid <= 1) return std::nullopt;
  return pid;
}

bool is_locked(const std::filesystem::path& file) {
  const UniqueFd fd = open_for_probe(file);
  return fd && probe(fd.get(), file);
}

bool LockProbe::is_locked() {
  struct stat status {};
  // A deleted file no longer shows the lock's state.
  if (!fd_ || ::fstat(fd_.get(), &status) != 0 || status.st_nlink == 0) {
    fd_ = open_for_probe(file_);
  }
  return fd_ && probe(fd_.get(), file_);
}

std::optional<FileLock> wait_for_slot(const StateLayout& layout, History& history,
                                      std::int64_t build, int max_parallel,
                                      const std::function<bool()>& keep_waiting) {
  const auto comes_first = [&](const protocol::Build& other) {
    // A queued build that no process ever runs must not block the others forever.
    return is_locked(layout.lock(other.repository)) || is_within(other.queued_at, start_patience);
  };
  while (keep_waiting()) {
    const auto before = history.queued_before(build);
    if (std::none_of(before.begin(), before.end(), comes_first)) {
      for (int number = 0; number < max_parallel; ++number) {
        if (auto lock = FileLock::try_take(layout.slot(number))) return lock;
      }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return std::nullopt;
}

}  // namespace nixbuild::history
