#include "server/builder/run_build.hpp"

#include <fcntl.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

#include "common/base/log.hpp"
#include "common/base/unique_fd.hpp"
#include "server/builder/build_phases.hpp"
#include "server/builder/leftovers.hpp"
#include "server/builder/owner.hpp"
#include "server/history/build_lock.hpp"

namespace nixbuild::builder {
namespace {

// Space released if the disk is full, so that the end of the build can still be recorded.
constexpr off_t reserve_size = off_t{1} << 20;
constexpr std::chrono::seconds lock_patience{5};
constexpr std::chrono::milliseconds lock_interval{10};

void hold_reserve(const std::filesystem::path& file) {
  const UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0640));
  // Failure does not matter unless the disk fills up.
  if (fd) static_cast<void>(::posix_fallocate(fd.get(), 0, reserve_size));
}

bool is_queued(history::History& history, const std::string& repository) {
  const auto builds = history.queued();
  return std::any_of(builds.begin(), builds.end(),
                     [&](const protocol::Build& build) { return build.repository == repository; });
}

// Nothing if the repository is being built. A build that is queued while another process has the
// lock was triggered when that one had almost ended: that process will build it too, or will exit
// soon.
std::optional<history::FileLock> take_lock(const history::StateLayout& layout,
                                           history::History& history,
                                           const std::string& repository) {
  const auto deadline = std::chrono::steady_clock::now() + lock_patience;
  for (;;) {
    auto lock = history::FileLock::try_take(layout.lock(repository));
    if (lock || !is_queued(history, repository) || std::chrono::steady_clock::now() >= deadline) {
      return lock;
    }
    std::this_thread::sleep_for(lock_interval);
  }
}

}  // namespace

ExitCode run_build(const RunOptions& options, const Observer& observer) {
  become_owner_of(options.state_dir);
  const history::StateLayout layout(options.state_dir);
  layout.create();
  const std::string& name = options.repository.name;
  // First, so that a build waiting for the lock can be cancelled like one that has it.
  Interruption interruption;
  history::History history(layout.history());
  const bool was_queued = is_queued(history, name);
  const auto lock = take_lock(layout, history, name);
  if (!lock) {
    log::error("{} is being built already; `nixbuild status` shows how far it is", name);
    return ExitCode::lock_held;
  }
  if (const int killed = kill_leftovers(layout, name); killed > 0) {
    log::warn("killed {} processes that an interrupted build of {} left", killed, name);
  }
  // Another process, which was just ending, may have built what this one was started for.
  if (was_queued && !is_queued(history, name)) {
    history.finish_cancelled(name);
    return ExitCode::done;
  }
  std::optional<LastBuild> last;
  for (;;) {
    interruption.set_timeout(std::chrono::seconds(0));  // clear the previous build's timeout
    hold_reserve(layout.reserve(name));
    // If the API has cancelled the build that this process was started for, do not run the next
    // one.
    if (history.finish_cancelled(name) && interruption.has_come()) return ExitCode::failed;
    const std::int64_t id =
        history.take_queued({name, invoking_user(), "command line", options.repository.branch});
    const ExitCode code =
        go_through_phases(options, layout, history, interruption, observer, id, last);
    // A build that was triggered meanwhile follows. So does one that was triggered after the
    // history recorded this one's end: systemd does not start a unit that is still running.
    if (interruption.has_come() || !is_queued(history, name)) return code;
  }
}

}  // namespace nixbuild::builder
