// Identifies the file that a path names, and detects writes to it.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdint>
#include <filesystem>

namespace nixbuild::store {

struct FileStamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t born = 0;  // nanoseconds; 0 if the file system does not record it
  std::uint64_t size = 0;
  std::int64_t modified = 0;  // nanoseconds
  std::int64_t changed = 0;   // nanoseconds

  bool exists() const noexcept { return inode != 0; }
  bool same_file(const FileStamp& other) const noexcept {
    return device == other.device && inode == other.inode && born == other.born;
  }
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};

// Follows symlinks. All zero if the file cannot be found.
inline FileStamp stamp_of(const std::filesystem::path& path) noexcept {
  struct statx status {};
  if (::statx(AT_FDCWD, path.c_str(), 0, STATX_BASIC_STATS | STATX_BTIME, &status) != 0) return {};
  const auto nanoseconds = [](const statx_timestamp& time) {
    return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
  };
  return {std::uint64_t{status.stx_dev_major} << 32 | status.stx_dev_minor,
          status.stx_ino,
          nanoseconds(status.stx_btime),
          status.stx_size,
          nanoseconds(status.stx_mtime),
          nanoseconds(status.stx_ctime)};
}

}  // namespace nixbuild::store
