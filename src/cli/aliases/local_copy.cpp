#include "cli/aliases/local_copy.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <string>
#include <system_error>

#include "cli/aliases/atuin.hpp"
#include "cli/aliases/synced_list.hpp"
#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/base/unique_fd.hpp"
#include "common/config/load.hpp"
#include "common/config/state_dir.hpp"

namespace nixbuild::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t most_copy = std::size_t{1} << 20;
constexpr std::time_t sync_interval = 60;  // seconds

fs::path directory() {
  return config::user_state_dir(config::process_environment);
}

fs::path copy_file() {
  return directory() / "aliases.json";
}

void make_directory() {
  const fs::path path = directory();
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    throw SystemError(errno, fmt::format("creating {}", path.string()));
  }
}

// Whether the home directory is this user's. It is not under a `sudo` that keeps HOME: files
// created there would belong to root.
bool owns_home() {
  const auto home = config::process_environment("HOME");
  struct stat status {};
  return home && ::stat(home->c_str(), &status) == 0 && status.st_uid == ::geteuid();
}

// A lock that is held while the copy is refreshed. The file's time is that of the last sync.
class RefreshLock {
 public:
  RefreshLock()
      : fd_(::open((directory() / "aliases.lock").c_str(),
                   O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) {
    if (fd_ && ::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) fd_.reset();
  }

  explicit operator bool() const noexcept { return static_cast<bool>(fd_); }

  bool is_sync_due() const {
    struct stat status {};
    if (::fstat(fd_.get(), &status) != 0 || status.st_size == 0) return true;
    const std::time_t age = std::time(nullptr) - status.st_mtime;
    return age < 0 || age >= sync_interval;
  }

  void note_sync() {
    // An empty file has no recorded sync.
    static_cast<void>(::pwrite(fd_.get(), "\n", 1, 0));
  }

 private:
  UniqueFd fd_;
};

// Removes what a killed writer left behind.
void remove_leftovers() {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory(), error)) {
    struct stat status {};
    if (entry.path().filename().string().starts_with(".aliases.json.") &&
        ::lstat(entry.path().c_str(), &status) == 0 &&
        std::time(nullptr) - status.st_mtime > sync_interval) {
      fs::remove(entry.path(), error);
    }
  }
}

void copy_from(const Atuin& atuin) {
  AliasList now = atuin.aliases();
  take_unloadable(now);
  if (now != read_local_copy()) write_local_copy(now);
}

}  // namespace

AliasList read_local_copy() {
  const UniqueFd fd(::open(copy_file().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat status {};
  if (!fd || ::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode) ||
      status.st_uid != ::geteuid() || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0 ||
      status.st_size > static_cast<off_t>(most_copy)) {
    return {};
  }
  std::string text(static_cast<std::size_t>(status.st_size), '\0');
  const ssize_t n = ::read(fd.get(), text.data(), text.size());
  if (n < 0) return {};
  text.resize(static_cast<std::size_t>(n));
  return parse_synced_list(text).aliases;
}

void write_local_copy(const AliasList& aliases) {
  make_directory();
  write_file_atomic(copy_file(), format_synced_list({aliases, {}, {}}), 0600);
}

void refresh_local_copy() {
  if (!Atuin::find() || !owns_home()) return;
  make_directory();
  RefreshLock lock;
  if (!lock) return;
  const Atuin atuin;
  if (!atuin.has_key()) return;
  remove_leftovers();
  copy_from(atuin);
  if (!lock.is_sync_due() || !atuin.syncs_by_itself()) return;
  lock.note_sync();
  atuin.sync();
  atuin.read_synced();
  copy_from(atuin);
}

}  // namespace nixbuild::cli
