// Prevents the programs of builds from using the API. Builders and the evaluator run on the same
// machine, and without a sandbox they can reach every listening port there: they could trigger and
// cancel builds of other repositories.
//
// For a local connection, the kernel reports the user of the other end through sock_diag(7).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>

#include "server/async/per_thread.hpp"
#include "server/http/request.hpp"

namespace nixbuild::api {

// The users of builds: members of the group nixbld, uids allocated by Nix, and nixbuild-build,
// unless this process runs as that user.
class BuildUsers {
 public:
  BuildUsers();
  explicit BuildUsers(std::set<uid_t> uids) : uids_(std::move(uids)) {}
  bool contains(uid_t uid) const;

 private:
  std::set<uid_t> uids_;
};

// Thread-safe.
class LocalPeers {
 public:
  explicit LocalPeers(std::function<BuildUsers()> users = [] { return BuildUsers(); })
      : users_(std::move(users)) {}

  // Whether the connection of `request` comes from this machine and from a user of builds; or from
  // this machine with an unknown user, because its other end was closed. Asks the kernel once per
  // connection.
  bool is_build(const http::Request& request);

 private:
  bool ask(int socket);
  bool contains(uid_t uid);

  using Verdicts = std::unordered_map<std::uint64_t, bool>;  // by connection
  async::PerThread<Verdicts> verdicts_{[] { return std::make_unique<Verdicts>(); }};
  const std::function<BuildUsers()> users_;
  std::mutex mutex_;  // protects the members below
  BuildUsers known_{std::set<uid_t>{}};
  std::chrono::steady_clock::time_point known_until_{};
};

}  // namespace nixbuild::api
