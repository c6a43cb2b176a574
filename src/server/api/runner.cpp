#include "server/api/runner.hpp"

#include "common/base/time.hpp"
#include "server/history/build_lock.hpp"
#include "server/history/history.hpp"

namespace nixbuild::api {

bool awaits_start(const history::StateLayout& layout, const std::string& repository,
                  std::int64_t build) {
  history::History history(layout.history());
  const auto current = history.current(repository);
  return current && current->id == build && current->state == protocol::BuildState::queued &&
         !history::is_locked(layout.lock(repository));
}

void fail_unstarted(const history::StateLayout& layout, const std::string& repository,
                    std::int64_t build, const std::function<std::string()>& reason) {
  if (!awaits_start(layout, repository, build)) return;
  history::History(layout.history()).finish(build, reason(), now());
}

std::unique_ptr<Runner> make_runner(config::Runner kind, const history::StateLayout& layout,
                                    RunArguments arguments) {
#ifdef NIXBUILD_SYSTEMD
  if (kind == config::Runner::systemd) return make_systemd_runner(layout);
  if (kind == config::Runner::automatic && systemd_has_build_unit())
    return make_systemd_runner(layout);
#else
  if (kind == config::Runner::systemd) {
    throw UsageError("api.runner: this nixbuild was built without systemd; use local");
  }
#endif
  return make_local_runner(layout, std::move(arguments));
}

}  // namespace nixbuild::api
