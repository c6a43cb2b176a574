// GET /repositories and /build/status: the configured repositories and their status.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "server/api/live_status.hpp"
#include "server/api/settings.hpp"
#include "server/async/per_thread.hpp"
#include "server/history/state_layout.hpp"
#include "server/http/response.hpp"

namespace nixbuild::api {

// Thread-safe.
class Repositories {
 public:
  // Both must outlive this object.
  Repositories(const history::StateLayout& layout, const CurrentSettings& settings)
      : settings_(settings),
        live_status_([&layout] { return std::make_unique<LiveStatus>(layout); }) {}

  http::Response list();
  // For the serving threads: from memory unless something has changed. `changes` counts this
  // process's changes to builds. Throws history::SqliteError, SystemError.
  http::Response status(const std::string& repository, std::uint64_t changes);

 private:
  const CurrentSettings& settings_;
  async::PerThread<LiveStatus> live_status_;
};

}  // namespace nixbuild::api
