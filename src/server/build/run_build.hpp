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

namespace nixbuild::build {

// What is shown of a build while it runs. Called from one thread.
struct Observer {
  std::function<void(const protocol::BuildStatus&)> status;  // on every change, at most 10 a second
  std::function<void(std::string_view line)> log_line;
};

// Ends with `done`, `failed`, or `lock_held` where another build of the repository runs. Throws
// UsageError when the repository is not configured.
//
// SIGTERM and SIGINT end the build and every process of it; it is then failed, 'cancelled'.
ExitCode run_build(const config::BuildServiceOptions& options, const std::string& repository,
                   const Observer& observer);

}  // namespace nixbuild::build
