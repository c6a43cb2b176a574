// Putting generated files into a directory: all of them written elsewhere first, then renamed into
// place, so that whatever happens each file is either as it was or whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/bootstrap/generated_files.hpp"
#include "common/base/unique_fd.hpp"

namespace nixbuild::cli {

// What becomes of one file.
enum class Placement : std::uint8_t {
  create,
  keep,      // it is there and says the same
  extend,    // .gitignore: lines are added
  conflict,  // it is there and says something else
};

struct PlannedFile {
  GeneratedFile file;  // with the content that it will have
  Placement placement = Placement::create;
};

// Compares with what is there. Throws SystemError for what cannot be read.
std::vector<PlannedFile> plan_placement(const std::filesystem::path& directory,
                                        const std::vector<GeneratedFile>& files);

// The directory, made where it is not there, and held: one `bootstrap` at a time. What a killed one
// has left is removed.
class TargetDirectory {
 public:
  // Throws SystemError; Error when another process holds it.
  explicit TargetDirectory(std::filesystem::path path);

  // Places the files in their order. A file in conflict is replaced; the old one stays beside it,
  // as NAME.backup-TIME, which is returned. Throws SystemError; until all files are written,
  // nothing in the directory has changed.
  std::vector<std::filesystem::path> place(const std::vector<PlannedFile>& files) const;

 private:
  std::filesystem::path path_;
  UniqueFd lock_;
};

}  // namespace nixbuild::cli
