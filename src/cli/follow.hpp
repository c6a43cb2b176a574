// Follows a running build for `trigger --wait` and `--follow`, `logs -f` and `status --watch`:
// reads the server's event stream and shows it in a ProgressView.
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
  std::optional<std::int64_t> lines;  // of the existing log; nothing: all
  // Called on every change of status.
  std::function<void(const protocol::BuildStatus&)> on_status = {};
};

// Shows the build until it ends, and returns its final status. Reconnects if the connection is
// lost, with one message. On Ctrl-C, says that the build continues, and ends the process. Throws
// UnreachableError and RefusedError.
protocol::BuildStatus follow(const ApiClient& api, const FollowRequest& request,
                             ProgressView& view);

}  // namespace nixbuild::cli
