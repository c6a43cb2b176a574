// GET /build/status, the route that is polled most. A status is read and rendered once per change.
// However many clients poll, changes are checked for at most once per millisecond.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "server/history/history.hpp"
#include "server/history/state_layout.hpp"
#include "server/history/status_file.hpp"
#include "server/http/response.hpp"

namespace nixbuild::api {

// The status of each repository as last read by one serving thread. Throws the exceptions of
// history::History and history::StatusReader.
class LiveStatus {
 public:
  explicit LiveStatus(const history::StateLayout& layout)
      : layout_(layout), history_(layout.history()) {}

  // `changes` counts this process's changes to builds, which must be visible immediately.
  http::SharedText json(const std::string& repository, std::uint64_t changes);

 private:
  struct Entry {
    history::StatusReader reader;
    std::uint64_t generation = 0;
    std::uint64_t changes = 0;
    std::chrono::steady_clock::time_point looked_at;
    http::SharedText json;
  };

  const history::StateLayout layout_;
  history::History history_;
  std::map<std::string, Entry> entries_;
};

}  // namespace nixbuild::api
