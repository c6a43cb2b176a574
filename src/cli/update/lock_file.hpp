// Puts a new flake.lock in place for a rebuild, and restores the old one if that fails.
//
// nixos-rebuild and home-manager read the lock from the flake's directory, so the new one has to be
// there before it is known to be good. Until then the old one is kept in the state directory. After
// a kill or a power failure, the next run finds it and restores it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/base/unique_fd.hpp"

namespace nixbuild::cli {

class LockFile {
 public:
  // Locks the flake for this process. Throws Error if another system-update has locked it.
  LockFile(std::filesystem::path flake, const std::filesystem::path& state_dir);
  LockFile(LockFile&&) noexcept = default;

  enum class Recovery { none, restored, changed_since };
  // Undoes what a killed run left behind: restores the old lock, unless the current one is neither
  // the old one nor that run's, and thus somebody else's.
  Recovery recover();

  // Puts a new lock in place; `before` is the current one. Throws SystemError.
  void place(const std::optional<std::string>& before, const std::string& after);
  // After a failed rebuild: restores the old lock. Throws SystemError.
  void restore();
  // After a successful rebuild: keeps the new lock. Throws SystemError.
  void keep();

  const std::filesystem::path& flake() const noexcept { return flake_; }

 private:
  void put_back(const std::optional<std::string>& before, bool added_to_git);
  void forget();
  bool git(std::vector<std::string> arguments) const;
  std::filesystem::path file() const { return flake_ / "flake.lock"; }

  std::filesystem::path flake_;
  std::filesystem::path journal_;
  UniqueFd held_;
};

}  // namespace nixbuild::cli
