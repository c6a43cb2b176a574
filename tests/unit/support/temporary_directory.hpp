// Directories for tests.
#pragma once

#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>

namespace nixbuild::test {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "nixbuild-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// A file system of its own with little room; needs root.
class SmallFilesystem {
 public:
  explicit SmallFilesystem(const char* options) {
    mounted_ = ::mount("tmpfs", directory_.path().c_str(), "tmpfs", 0, options) == 0;
  }
  ~SmallFilesystem() {
    if (mounted_) ::umount2(directory_.path().c_str(), MNT_DETACH);
  }
  SmallFilesystem(const SmallFilesystem&) = delete;
  SmallFilesystem& operator=(const SmallFilesystem&) = delete;

  bool mounted() const { return mounted_; }
  const std::filesystem::path& path() const { return directory_.path(); }

 private:
  TemporaryDirectory directory_;
  bool mounted_ = false;
};

// While it lives, root's process is an ordinary user's.
class Unprivileged {
 public:
  Unprivileged() : group_(::getegid()), user_(::geteuid()) {
    if (user_ != 0) return;
    changed_ = ::setegid(65534) == 0 && ::seteuid(65534) == 0;
  }
  ~Unprivileged() {
    if (changed_ && (::seteuid(user_) != 0 || ::setegid(group_) != 0)) ::abort();
  }
  Unprivileged(const Unprivileged&) = delete;
  Unprivileged& operator=(const Unprivileged&) = delete;

 private:
  gid_t group_;
  uid_t user_;
  bool changed_ = false;
};

}  // namespace nixbuild::test
