#include "server/api/runner.hpp"

namespace nixbuild::api {

std::unique_ptr<Runner> make_runner(config::Runner kind, const build::StateLayout& layout,
                                    RunArguments arguments) {
#ifdef NIXBUILD_SYSTEMD
  if (kind == config::Runner::systemd) return make_systemd_runner();
  if (kind == config::Runner::automatic && systemd_has_build_unit()) return make_systemd_runner();
#else
  if (kind == config::Runner::systemd) {
    throw UsageError("api.runner: this nixbuild was built without systemd; use local");
  }
#endif
  return make_local_runner(layout, std::move(arguments));
}

}  // namespace nixbuild::api
