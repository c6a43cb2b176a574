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

// What is shown of a build while it runs. Called from one thread; any may be missing.
struct Observer {
  std::function<void(const protocol::BuildStatus&)> status;  // on every change
  std::function<void(std::string_view line)> log_line;
  std::function<void()> tick;  // about every 0.1 s while something is waited for
};

struct RunOptions {
  std::filesystem::path state_dir;
  config::BuildOptions build;
  config::Repository repository;
  // Files that the build must not see, wherever the user that runs it could read them.
  std::vector<std::filesystem::path> secrets;
};

// Ends with `done`, `failed`, or `lock_held` where another build of the repository runs. A build
// that fails is no error: it is in the history, and shown.
//
// SIGTERM, SIGINT and SIGHUP end the build and every process of it; it is then failed, 'cancelled'.
// As root it goes on as the owner of the state directory.
ExitCode run_build(const RunOptions& options, const Observer& observer);

}  // namespace nixbuild::builder
