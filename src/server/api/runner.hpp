// Starts and stops queued builds, as systemd units or as child processes.
//
// A runner starts `nixbuild run-build REPOSITORY`, which takes the queued build from the history.
// The runner need not wait for that: the lock shows whether a build is running.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/error.hpp"
#include "common/config/build_options.hpp"
#include "server/history/state_layout.hpp"

namespace nixbuild::api {

// systemd, or this system, did not carry out a request. Retrying later may succeed.
class RunnerError : public Error {
 public:
  using Error::Error;
};

class Runner {
 public:
  virtual ~Runner() = default;
  virtual const char* name() const noexcept = 0;
  // Both may block for several seconds and may be called from any thread. Throw RunnerError.
  // Starts a build of `repository`, whose queued build is number `build`. After `most_starts` that
  // failed, it is recorded as failed, with the last reason.
  virtual void start(const std::string& repository, std::int64_t build) = 0;
  // Ends the build and all its processes. Returns once this has been requested.
  virtual void stop(const std::string& repository) = 0;
};

constexpr int most_starts = 3;

// Additional arguments for run-build: --state-dir, --config, --repository.
using RunArguments = std::vector<std::string>;

std::unique_ptr<Runner> make_local_runner(const history::StateLayout& layout,
                                          RunArguments arguments);
#ifdef NIXBUILD_SYSTEMD
// `nixbuild-build@REPOSITORY.service`, over D-Bus.
std::unique_ptr<Runner> make_systemd_runner(const history::StateLayout& layout);
// Whether systemd manages this machine and has that unit.
bool systemd_has_build_unit();
#endif

// Whether build number `build` is still queued, and no process is running that could have taken it.
// Throws history::SqliteError, SystemError.
bool awaits_start(const history::StateLayout& layout, const std::string& repository,
                  std::int64_t build);
// If so, marks the build as failed, with the result of `reason`, which is called only then. Throws
// history::SqliteError, SystemError.
void fail_unstarted(const history::StateLayout& layout, const std::string& repository,
                    std::int64_t build, const std::function<std::string()>& reason);

// The configured runner. Throws UsageError if there is no such runner.
std::unique_ptr<Runner> make_runner(config::Runner kind, const history::StateLayout& layout,
                                    RunArguments arguments);

}  // namespace nixbuild::api
