// A temporary copy of the files of a flake that Nix reads to lock its inputs: flake.nix, flake.lock
// and the inputs beside them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/update/runner.hpp"
#include "common/nix/flake_lock.hpp"

namespace nixbuild::cli {

class FlakeCopy {
 public:
  // `runner` must outlive this object. Throws Error if there is no flake.nix.
  FlakeCopy(const Runner& runner, const std::filesystem::path& flake);

  const std::filesystem::path& path() const noexcept { return directory_.path(); }
  // The text of flake.lock; nothing: it did not exist.
  const std::optional<std::string>& before() const noexcept { return before_; }

  bool has_lock() const;
  // Throws Error if there is no flake.lock.
  std::string read() const;
  void write(const std::string& text) const;
  nix::FlakeLock parse() const;

  // Has Nix lock what is not locked yet. Throws Error.
  void complete() const;

 private:
  class TemporaryDirectory {
   public:
    TemporaryDirectory();
    ~TemporaryDirectory();
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

    const std::filesystem::path& path() const noexcept { return path_; }

   private:
    std::filesystem::path path_;
  };

  // Copies inputs such as `path:./sub`, which are beside flake.nix.
  void copy_relative_inputs(const std::filesystem::path& flake) const;
  void copy_below(const std::filesystem::path& flake, const std::filesystem::path& below) const;
  // The files there that git tracks, as Nix sees no others of a flake in a repository. Nothing if
  // it is not in a repository.
  std::optional<std::vector<std::filesystem::path>> tracked_files(
      const std::filesystem::path& flake, const std::filesystem::path& below) const;

  const Runner& runner_;
  TemporaryDirectory directory_;
  std::optional<std::string> before_;
};

}  // namespace nixbuild::cli
