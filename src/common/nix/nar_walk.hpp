// Visits a file system object in the order in which its NAR describes it.
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
  // The file is `name` in the directory `dir_fd`; `path` is for messages. The file has not been
  // opened.
  virtual void regular(int dir_fd, const char* name, const std::string& path) = 0;
  virtual void symlink(std::string_view target) = 0;
  virtual void begin_directory() = 0;
  virtual void begin_entry(std::string_view name) = 0;
  virtual void end_entry() = 0;
  virtual void end_directory() = 0;
};

// Visits `root` and everything below it. Symlinks are read, never followed. Holds a descriptor and
// the names of the entries for each directory level. Throws SystemError, and Error for what a NAR
// cannot contain.
void walk_tree(const std::filesystem::path& root, TreeVisitor& visitor);

}  // namespace nixbuild::nix
