#include "cli/update/rebuild.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "cli/output.hpp"
#include "cli/update/generations.hpp"
#include "common/base/error.hpp"
#include "common/base/shell.hpp"
#include "common/base/terminal.hpp"
#include "common/config/load.hpp"
#include "common/config/state_dir.hpp"

namespace nixbuild::cli {
namespace fs = std::filesystem;
namespace {

void show_changes(const Runner& runner, const std::optional<fs::path>& before,
                  const std::optional<fs::path>& after) {
  if (!after || before == after) {
    say("  the generation is the same as before");
    return;
  }
  const Closure now = closure_of(runner, *after);
  const Closure former = before ? closure_of(runner, *before) : Closure();
  print_text(render(compare(former, now), former, now, terminal::width(STDOUT_FILENO)));
}

std::string program_of(const std::vector<std::string>& words) {
  return words.front() == "sudo" ? words[1] : words.front();
}

// The problem, if the command failed only after the new configuration was in force.
std::optional<std::string> problem_after_switch(const Configuration& configuration,
                                                const std::vector<std::string>& words, int code,
                                                bool is_new_generation) {
  if (configuration.kind == ConfigurationKind::nixos && code == code_of_failed_units) {
    return fmt::format(
        "{} ended with exit code {}: the new system is in force, but not all of its units started; "
        "see `systemctl --failed`. flake.lock stays as updated, and nothing is deleted",
        program_of(words), code);
  }
  if (!is_new_generation) return std::nullopt;
  return fmt::format(
      "{} ended with exit code {} after it had made the new generation the current one; see its "
      "messages above. flake.lock stays as updated, and nothing is deleted",
      program_of(words), code);
}

}  // namespace

std::vector<LockFile> take_flakes(const UpdatePlan& plan) {
  const fs::path state = config::user_state_dir(config::process_environment);
  std::vector<LockFile> locks;
  for (const fs::path& flake : plan.flakes()) {
    locks.emplace_back(flake, state);
    const LockFile::Recovery recovery = locks.back().recover();
    if (recovery == LockFile::Recovery::none) continue;
    say(fmt::format(
        "! an earlier run was cut off while it rebuilt {}: its flake.lock {}", flake.string(),
        recovery == LockFile::Recovery::restored ? "is again what it was before"
                                                 : "has been changed since by others, and stays"));
  }
  return locks;
}

std::vector<std::string> rebuild(const Runner& runner, const UpdatePlan& plan,
                                 const Identity& identity, std::vector<LockFile>& locks,
                                 const std::vector<FlakeUpdate>& updates,
                                 const std::function<void()>& on_switch) {
  const std::vector<std::string> options = runner.option_arguments();
  bool has_switched = false;
  std::vector<std::string> problems;
  const auto run = [&](const std::vector<std::string>& words, const fs::path& directory) {
    say(fmt::format("  in {}: {}", directory.string(), shell_command(words)));
    return runner.foreground(words, directory);
  };
  const auto fail = [&](const std::vector<std::string>& words, const fs::path& directory,
                        int code) {
    throw Error(fmt::format("the rebuild failed: {} in {} ended with exit code {}; {}",
                            program_of(words), directory.string(), code,
                            has_switched ? "the other configuration has been switched before"
                                         : "system and flake.lock are as they were"));
  };
  const auto take_back = [&] {
    for (LockFile& lock : locks) {
      if (!has_switched) {
        lock.restore();
      } else {
        lock.keep();
      }
    }
  };
  try {
    for (const FlakeUpdate& update : updates) {
      const auto lock = std::find_if(locks.begin(), locks.end(), [&](const LockFile& one) {
        return one.flake() == update.flake;
      });
      if (update.lock.after != update.lock.before.value_or("")) {
        lock->place(update.lock.before, update.lock.after);
      }
    }
    // Switch neither of two configurations if the other does not build.
    if (plan.configurations().size() > 1) {
      for (const Configuration& one : plan.configurations()) {
        const std::vector<std::string> words = plan.build(one, options);
        if (const int code = run(words, one.flake); code != 0) fail(words, one.flake, code);
      }
    }
    for (const Configuration& one : plan.configurations()) {
      const auto before = current_generation(one.kind, identity.user);
      const std::vector<std::string> words = plan.rebuild(one, options);
      const int code = run(words, one.flake);
      const auto after = current_generation(one.kind, identity.user);
      if (code != 0) {
        auto problem = problem_after_switch(one, words, code, after != before);
        if (!problem) fail(words, one.flake, code);
        problems.push_back(std::move(*problem));
      }
      if (!has_switched) on_switch();
      has_switched = true;
      show_changes(runner, before, after);
    }
  } catch (...) {
    take_back();
    throw;
  }
  for (LockFile& lock : locks)
    lock.keep();
  return problems;
}

}  // namespace nixbuild::cli
