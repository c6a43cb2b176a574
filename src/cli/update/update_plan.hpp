// The commands that a run of system-update is made of.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/update/configurations.hpp"
#include "common/config/update_options.hpp"

namespace nixbuild::cli {

class UpdatePlan {
 public:
  // `options` and `identity` must outlive it.
  UpdatePlan(const config::UpdateOptions& options, const Identity& identity,
             std::vector<Configuration> found);

  // Before anything is changed: what is needed later and missing, with what to do, a line each.
  std::vector<std::string> missing_programs() const;
  // Throws Error if a flake.lock cannot be written, saying whose the flake is.
  void check_flakes_are_writable() const;

  // `options` are Nix's, for the command line.
  std::vector<std::string> build(const Configuration& configuration,
                                 const std::vector<std::string>& options) const;
  std::vector<std::string> rebuild(const Configuration& configuration,
                                   const std::vector<std::string>& options) const;
  // Deletes old generations and then what nothing needs: root's, if there is a NixOS, and the
  // user's.
  std::vector<std::vector<std::string>> collect() const;

  const std::vector<Configuration>& configurations() const noexcept { return configurations_; }
  // Those of the configurations, each once.
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
