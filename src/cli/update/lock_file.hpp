// A new flake.lock put in place for a rebuild, and taken back when that fails.
//
// nixos-rebuild and home-manager read the lock from the flake's directory, so the new one has to
// stand there before it is known to be good. What stood there is kept in the state directory until
// then: also after a kill or a power cut the next run finds it, and puts it back.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/base/unique_fd.hpp"

namespace nixbuild::cli {

class LockFile {
 public:
  // Takes hold of the flake for this process. Throws Error where another system-update has it.
  LockFile(std::filesystem::path flake, const std::filesystem::path& state_dir);
  LockFile(LockFile&&) noexcept = default;

  enum class Recovery { none, restored, changed_since };
  // Undoes what a run that was killed has left: the lock of before comes back, unless what stands
  // there is neither that run's nor of before, and so somebody else's.
  Recovery recover();

  // Puts a new lock in place; `before` is what stands there. Throws SystemError.
  void place(const std::optional<std::string>& before, const std::string& after);
  // The rebuild has failed: the lock of before comes back. Throws SystemError.
  void restore();
  // The rebuild is done: the new lock stays. Throws SystemError.
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
