// A file system object visited in the order in which its NAR describes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace nixbuild::nix {

class TreeVisitor {
 public:
  virtual ~TreeVisitor() = default;
  // The file is `name` in the directory `dir_fd`; `path` is for messages. Nothing was opened yet.
  virtual void regular(int dir_fd, const char* name, const std::string& path) = 0;
  virtual void symlink(std::string_view target) = 0;
  virtual void begin_directory() = 0;
  virtual void begin_entry(std::string_view name) = 0;
  virtual void end_entry() = 0;
  virtual void end_directory() = 0;
};

// Visits `root` and all below it. Symlinks are read, never followed. One descriptor is held for
// each directory on the way down, and the names of their entries. Throws SystemError, and Error for
// what a NAR cannot hold.
void walk_tree(const std::filesystem::path& root, TreeVisitor& visitor);

}  // namespace nixbuild::nix
