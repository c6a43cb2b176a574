// Runs builds as systemd units, `nixbuild-build@REPOSITORY.service`.
//
// A start is a systemd job, and for these units it lasts as long as the build. A thread waits for
// its end, to report builds that never started. If this process ends, the build continues; its lock
// then shows its state, as for every build.
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cerrno>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

#include "common/base/log.hpp"
#include "common/base/unique_fd.hpp"
#include "server/api/runner.hpp"
#include "server/api/system_bus.hpp"
#include "server/history/build_lock.hpp"

namespace nixbuild::api {
namespace {

std::string unit_of(std::string_view repository) {
  return fmt::format("nixbuild-build@{}.service", repository);
}

class SystemdRunner : public Runner {
 public:
  explicit SystemdRunner(const history::StateLayout& layout)
      : layout_(layout), stop_(::eventfd(0, EFD_CLOEXEC)) {
    if (!stop_) throw SystemError(errno, "making an eventfd");
  }
  ~SystemdRunner() override;

  const char* name() const noexcept override { return "systemd"; }
  void start(const std::string& repository, std::int64_t build) override;
  void stop(const std::string& repository) override;

 private:
  struct Watch {
    std::thread thread;
    bool is_over = false;
  };

  void watch(SystemBus& bus, const std::string& repository, std::int64_t build);
  void see_to_its_begin(SystemBus& bus, const std::string& repository, std::int64_t build);

  const history::StateLayout layout_;
  const UniqueFd stop_;
  std::mutex mutex_;
  std::list<Watch> watches_;
};

SystemdRunner::~SystemdRunner() {
  static_cast<void>(::eventfd_write(stop_.get(), 1));
  for (Watch& watch : watches_)
    watch.thread.join();
}

void SystemdRunner::stop(const std::string& repository) {
  SystemBus bus;
  const std::string state = bus.active_state(unit_of(repository));
  if (state == "inactive" || state == "failed") {
    // systemd would report success for stopping a unit that is not running.
    if (const auto holder = history::lock_holder(layout_.lock(repository))) {
      throw RunnerError(
          fmt::format("the build of {} was started by hand as process {}, which this server may "
                      "not end; end it there, with Ctrl-C or kill",
                      repository, *holder));
    }
  }
  bus.stop_unit(unit_of(repository));
}

void SystemdRunner::start(const std::string& repository, std::int64_t build) {
  auto bus = std::make_shared<SystemBus>();
  bus->start_unit(unit_of(repository));
  const std::lock_guard lock(mutex_);
  watches_.remove_if([](Watch& watch) {
    if (watch.is_over) watch.thread.join();
    return watch.is_over;
  });
  Watch& watch = watches_.emplace_back();
  watch.thread = std::thread([this, &watch, bus, repository, build] {
    this->watch(*bus, repository, build);
    const std::lock_guard over(mutex_);
    watch.is_over = true;
  });
}

void SystemdRunner::watch(SystemBus& bus, const std::string& repository, std::int64_t build) {
  try {
    see_to_its_begin(bus, repository, build);
  } catch (const Error& error) {
    log::error("after the start of build {} of {}: {}", build, repository, error.what());
  }
}

void SystemdRunner::see_to_its_begin(SystemBus& bus, const std::string& repository,
                                     std::int64_t build) {
  const std::string unit = unit_of(repository);
  auto result = bus.wait_for_job(stop_.get());
  // Maybe the unit was just ending an earlier build, in which case systemd reports the start as
  // done.
  for (int starts = 1; starts < most_starts; ++starts) {
    if (!result || !awaits_start(layout_, repository, build)) return;
    if (*result == "canceled") break;
    bus.start_unit(unit);
    result = bus.wait_for_job(stop_.get());
  }
  if (!result) return;
  fail_unstarted(layout_, repository, build, [&]() -> std::string {
    if (*result == "canceled") return "cancelled";
    return fmt::format("{} did not begin the build ({}); see `journalctl -u {}`", unit,
                       *result == "failed" ? bus.failure(unit) : *result, unit);
  });
}

}  // namespace

std::unique_ptr<Runner> make_systemd_runner(const history::StateLayout& layout) {
  return std::make_unique<SystemdRunner>(layout);
}

bool systemd_has_build_unit() {
  // There may be a bus without systemd.
  if (sd_booted() <= 0) return false;
  try {
    // Any instance will do to check the template.
    return SystemBus().load_state(unit_of("x")) == "loaded";
  } catch (const RunnerError& error) {
    log::info("builds do not run as units: {}", error.what());
    return false;
  }
}

}  // namespace nixbuild::api
