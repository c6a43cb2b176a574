// The commands of a system-update run.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/update/configurations.hpp"
#include "common/config/update_options.hpp"

namespace nixbuild::cli {

class UpdatePlan {
 public:
  // `options` and `identity` must outlive this object.
  UpdatePlan(const config::UpdateOptions& options, const Identity& identity,
             std::vector<Configuration> found);

  // What is missing and will be needed later, and what to do, one line each. To be called before
  // anything is changed.
  std::vector<std::string> missing_programs() const;
  // Throws Error naming the flake's owner if a flake.lock cannot be written.
  void check_flakes_are_writable() const;

  // `options` are Nix options for the command line.
  std::vector<std::string> build(const Configuration& configuration,
                                 const std::vector<std::string>& options) const;
  std::vector<std::string> rebuild(const Configuration& configuration,
                                   const std::vector<std::string>& options) const;
  // Deletes old generations, then unused store paths: the system's, if there is a NixOS, and those
  // of the user's profiles. Never one that runs, was booted, or is its profile's current one.
  std::vector<std::vector<std::string>> collect() const;

  const std::vector<Configuration>& configurations() const noexcept { return configurations_; }
  // The flakes of the configurations, without duplicates.
  std::vector<std::filesystem::path> flakes() const;

 private:
  bool has(ConfigurationKind kind) const;
  std::vector<std::string> as_root(std::vector<std::string> words) const;
  std::vector<std::string> with_options(std::vector<std::string> words,
                                        const std::vector<std::string>& options) const;

  const config::UpdateOptions& options_;
  const Identity& identity_;
  std::vector<Configuration> configurations_;
};

}  // namespace nixbuild::cli
