// How a build runs git and nix: isolated, with the environment that both need, ended when the build
// is, and with live output.
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
    std::filesystem::path clone;    // where programs run
    std::filesystem::path dir;      // of the flake in it; empty: at the top
    std::filesystem::path home;     // HOME of programs
    bool allow_local_git = false;   // submodules may come from this machine's files
    std::uint64_t eval_memory = 0;  // bytes, for the processes that evaluate at one time
    Credentials credentials;
  };
  // Programs run in the isolation that their purpose needs, or in none.
  struct Isolations {
    Isolation git;         // sees the credentials, and a remote that is a path of this machine
    Isolation inputs;      // Nix as it fetches inputs: sees the credentials
    Isolation evaluation;  // sees neither
  };
  Toolbox(const history::StateLayout& layout, Settings settings, Isolations isolations,
          Interruption& interruption, Report& report);

  // Runs one program to its end, in the clone. Throws Interrupted, SystemError when it cannot be
  // started.
  Exit run(Command command);
  // The same; what comes on its standard error goes to the log too, as it comes.
  Exit run_logged(Command command);
  // Runs programs, `at_once` of them at a time; `on_end` is told of each as it ends.
  void run_all(std::vector<Command> commands, std::size_t at_once,
               const std::function<void(std::size_t index, const Exit&)>& on_end);

  // `git ARGUMENTS…`.
  Command git(std::vector<std::string> arguments) const;
  // Any of Nix's programs, with flakes turned on and no configuration of a flake accepted. What
  // comes in `options` is added as --option NAME VALUE.
  using Options = std::vector<std::pair<std::string, std::string>>;
  // It may use `eval_memory`, and what it starts as well.
  Command nix(std::vector<std::string> arguments, const Options& options = {}) const;
  // The same with the repository's credentials: for commands that fetch inputs, and evaluate no
  // more than it takes to find these.
  Command nix_fetching(std::vector<std::string> arguments) const;
  // For expressions that are no flakes, which Nix would otherwise let read any file: options that
  // restrict evaluation to the clone, to what NIX_PATH names and to fetching, and the entries of
  // Nix's search path that go with them.
  static Options restriction();
  std::vector<std::string> search_path() const;
  std::uint64_t eval_memory() const noexcept { return settings_.eval_memory; }
  bool has_credentials() const noexcept { return !settings_.credentials.empty(); }

  const std::filesystem::path& clone() const noexcept { return settings_.clone; }
  // A file beside flake.nix or default.nix, relative to the clone.
  std::filesystem::path in_dir(const char* file) const { return settings_.dir / file; }

  // Ends every process of the build: asks first, then kills.
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
