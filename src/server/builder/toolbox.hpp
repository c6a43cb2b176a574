// Runs git and nix for a build: isolated, with the environment that both need, ended together with
// the build, and with live output.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "common/base/subprocess.hpp"
#include "common/nix/error_reason.hpp"
#include "server/builder/credentials.hpp"
#include "server/builder/interruption.hpp"
#include "server/builder/isolation.hpp"
#include "server/builder/report.hpp"

namespace nixbuild::builder {

class Toolbox {
 public:
  struct Settings {
    std::string repository;
    std::filesystem::path clone;  // where programs run
    std::filesystem::path dir;    // of the flake in the clone; empty for the top
    std::filesystem::path home;   // HOME of programs
    // The same for programs that see the credentials: what is in it may tell them to run others.
    std::filesystem::path fetching_home;
    bool allow_local_git = false;   // submodules may come from local files
    std::uint64_t eval_memory = 0;  // bytes, for all processes that evaluate at the same time
    Credentials credentials;
  };
  // Each program runs in the isolation for its purpose, or in none.
  struct Isolations {
    Isolation git;         // sees the credentials, and a remote that is a local path
    Isolation inputs;      // for Nix while it fetches inputs; sees the credentials
    Isolation evaluation;  // sees neither
  };
  Toolbox(const history::StateLayout& layout, Settings settings, Isolations isolations,
          Interruption& interruption, Report& report);

  // Runs one program in the clone until it exits. Throws Interrupted, or SystemError if it cannot
  // be started.
  Exit run(Command command);
  // The same, but also logs its standard error as it arrives.
  Exit run_logged(Command command);
  // Runs programs, `at_once` of them at a time; calls `on_end` as each exits.
  void run_all(std::vector<Command> commands, std::size_t at_once,
               const std::function<void(std::size_t index, const Exit&)>& on_end);

  // `git ARGUMENTS…`.
  Command git(std::vector<std::string> arguments) const;
  // Any of Nix's programs, with flakes enabled and without accepting a flake's configuration. Each
  // of `options` is added as --option NAME VALUE.
  using Options = std::vector<std::pair<std::string, std::string>>;
  // It and its child processes may use `eval_memory`.
  Command nix(std::vector<std::string> arguments, const Options& options = {}) const;
  // The same with the repository's credentials: for commands that fetch inputs, and evaluate only
  // what is needed to find them.
  Command nix_fetching(std::vector<std::string> arguments) const;
  // For expressions that are not flakes, which Nix would otherwise allow to read any file: options
  // that restrict evaluation to the clone, NIX_PATH and fetching, and the corresponding entries of
  // Nix's search path.
  static Options restriction();
  std::vector<std::string> search_path() const;
  std::uint64_t eval_memory() const noexcept { return settings_.eval_memory; }
  bool has_credentials() const noexcept { return !settings_.credentials.empty(); }

  const std::filesystem::path& clone() const noexcept { return settings_.clone; }
  // A file next to flake.nix or default.nix, relative to the clone.
  std::filesystem::path in_dir(const char* file) const { return settings_.dir / file; }

  // Ends all processes of the build: first asks, then kills.
  void end_all();

 private:
  void prepare(Command& command) const;
  void wait(std::span<Subprocess* const> children);

  const history::StateLayout& layout_;
  Settings settings_;
  Isolations isolations_;
  Interruption& interruption_;
  Report& report_;
  std::chrono::steady_clock::time_point last_record_;
};

using nix::reason_in;
using nix::reason_of;

}  // namespace nixbuild::builder
