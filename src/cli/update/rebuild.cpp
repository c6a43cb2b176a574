#include "cli/update/rebuild.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>

#include "cli/output.hpp"
#include "cli/update/generations.hpp"
#include "common/base/error.hpp"
#include "common/base/shell.hpp"
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
  print(render(compare(former, now), former, now));
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

void rebuild(const Runner& runner, const UpdatePlan& plan, const Identity& identity,
             std::vector<LockFile>& locks, const std::vector<FlakeUpdate>& updates) {
  const std::vector<std::string> options = runner.option_arguments();
  bool has_switched = false;
  const auto run = [&](const std::vector<std::string>& words, const fs::path& directory) {
    say(fmt::format("  in {}: {}", directory.string(), shell_command(words)));
    const int code = runner.foreground(words, directory);
    if (code == 0) return;
    throw Error(fmt::format("the rebuild failed: {} in {} ended with exit code {}; {}",
                            words.front() == "sudo" ? words[1] : words.front(), directory.string(),
                            code,
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
    // Of two, neither is to be switched where the other does not build.
    if (plan.configurations().size() > 1) {
      for (const Configuration& one : plan.configurations())
        run(plan.build(one, options), one.flake);
    }
    for (const Configuration& one : plan.configurations()) {
      const auto before = current_generation(one.kind, identity.user);
      run(plan.rebuild(one, options), one.flake);
      has_switched = true;
      show_changes(runner, before, current_generation(one.kind, identity.user));
    }
  } catch (...) {
    take_back();
    throw;
  }
  for (LockFile& lock : locks)
    lock.keep();
}

}  // namespace nixbuild::cli
