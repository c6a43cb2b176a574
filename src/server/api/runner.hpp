// How a build that was queued gets started, and stopped: as a systemd unit, or as a child process.
//
// A runner starts `nixbuild run-build REPOSITORY`, which takes the queued build from the history.
// It need not wait for that: whether a build runs is told by its lock.
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

// systemd, or this system, does not do what it was asked for. Trying again later may succeed.
class RunnerError : public Error {
 public:
  using Error::Error;
};

class Runner {
 public:
  virtual ~Runner() = default;
  virtual const char* name() const noexcept = 0;
  // Both may block for some seconds and are called from any thread. Throw RunnerError.
  // Starts what builds `repository`, whose queued build is number `build`. One that is not begun is
  // failed, with the reason.
  virtual void start(const std::string& repository, std::int64_t build) = 0;
  // Ends the build and every process of it. Returns once that was asked for.
  virtual void stop(const std::string& repository) = 0;
};

// What run-build is told beside the repository's name: --state-dir, --config, --repository.
using RunArguments = std::vector<std::string>;

std::unique_ptr<Runner> make_local_runner(const history::StateLayout& layout,
                                          RunArguments arguments);
#ifdef NIXBUILD_SYSTEMD
// `nixbuild-build@REPOSITORY.service`, over D-Bus.
std::unique_ptr<Runner> make_systemd_runner(const history::StateLayout& layout);
// Whether systemd runs this machine and knows that unit.
bool systemd_has_build_unit();
#endif

// Whether build number `build` is still queued, and nobody is there who could have taken it. Throws
// history::SqliteError, SystemError.
bool awaits_start(const history::StateLayout& layout, const std::string& repository,
                  std::int64_t build);
// Fails such a build with the reason that is then asked for. Throws history::SqliteError,
// SystemError.
void fail_unstarted(const history::StateLayout& layout, const std::string& repository,
                    std::int64_t build, const std::function<std::string()>& reason);

// The runner that the configuration asks for. Throws UsageError where there is none of that kind.
std::unique_ptr<Runner> make_runner(config::Runner kind, const history::StateLayout& layout,
                                    RunArguments arguments);

}  // namespace nixbuild::api
