// Creates generated files in a directory. All of them are written elsewhere first and then renamed,
// so that each file is either unchanged or complete, whatever happens.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/bootstrap/generated_files.hpp"
#include "common/base/unique_fd.hpp"

namespace nixbuild::cli {

// What happens to one file.
enum class Placement : std::uint8_t {
  create,
  keep,      // it exists with the same content
  extend,    // .gitignore: lines are appended
  conflict,  // it exists with other content
};

struct PlannedFile {
  GeneratedFile file;  // with the content that it will have
  Placement placement = Placement::create;
};

// Compares with the existing files. Throws SystemError if one cannot be read.
std::vector<PlannedFile> plan_placement(const std::filesystem::path& directory,
                                        const std::vector<GeneratedFile>& files);

// The directory, created if it does not exist and locked: one `bootstrap` at a time. What a killed
// one left behind is removed.
class TargetDirectory {
 public:
  // Throws SystemError; Error if another process has locked it.
  explicit TargetDirectory(std::filesystem::path path);

  // Creates the files in their order. A file in conflict is renamed to NAME.backup-TIME first;
  // these names are returned. Throws SystemError; nothing changes until all files are written.
  std::vector<std::filesystem::path> place(const std::vector<PlannedFile>& files) const;

 private:
  std::filesystem::path path_;
  UniqueFd lock_;
};

}  // namespace nixbuild::cli
