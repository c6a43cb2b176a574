// Following a build that goes on, as `trigger --wait` and `--follow`, `logs -f` and `status
// --watch` do: the server's event stream, shown by a ProgressView.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "cli/api_client.hpp"
#include "common/protocol/types.hpp"

namespace nixbuild::cli {

class ProgressView;

struct FollowRequest {
  std::string repository;
  std::optional<std::int64_t> build;  // nothing: the newest
  bool with_log = false;
  std::optional<std::int64_t> lines;  // of the log that is there already; nothing: all
  // Called on every change of status.
  std::function<void(const protocol::BuildStatus&)> on_status = {};
};

// Shows the build until it ends, and returns with what status. A connection that is lost is made
// anew, which is said once. On Ctrl-C says that the build goes on, and ends the process.
// Throws UnreachableError and RefusedError.
protocol::BuildStatus follow(const ApiClient& api, const FollowRequest& request,
                             ProgressView& view);

}  // namespace nixbuild::cli
