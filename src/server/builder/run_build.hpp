// `nixbuild run-build REPOSITORY`: one build of a repository, from git to rooted outputs.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/exit_code.hpp"
#include "common/config/build_options.hpp"
#include "common/protocol/types.hpp"

namespace nixbuild::builder {

// Callbacks that show a running build. Called from one thread; each may be empty.
struct Observer {
  std::function<void(const protocol::BuildStatus&)> status;  // on every change
  std::function<void(std::string_view line)> log_line;
  std::function<void()> tick;  // about every 0.1 s while waiting
};

struct RunOptions {
  std::filesystem::path state_dir;
  config::BuildOptions build;
  config::Repository repository;
  // Files that the build must not see, even if its user can read them.
  std::vector<std::filesystem::path> secrets;
};

// Ends with `done`, `failed`, or `lock_held` if another build of the repository is running. A
// failed build is not an error: it is recorded in the history, and shown.
//
// SIGTERM, SIGINT and SIGHUP end the build and all its processes; it has then failed as
// 'cancelled'. If run by root, it switches to the owner of the state directory.
ExitCode run_build(const RunOptions& options, const Observer& observer);

}  // namespace nixbuild::builder
