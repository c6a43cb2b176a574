// A small file system, for tests of full disks. Linux only, and only root can mount it.
#pragma once

#include <sys/mount.h>

#include <filesystem>

#include "temporary_directory.hpp"

namespace nixbuild::test {

class SmallFilesystem {
 public:
  // tmpfs options, such as "size=1m".
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

}  // namespace nixbuild::test
