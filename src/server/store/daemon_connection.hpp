// An idle connection to the Nix daemon. While it is open, the daemon's process has the store's
// database open, so that the -wal and -shm files exist, which a reader without write access needs
// but cannot create.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <string>

#include "common/base/unique_fd.hpp"

namespace nixbuild::store {

// Not thread-safe. No call blocks.
class DaemonConnection {
 public:
  explicit DaemonConnection(std::filesystem::path socket);

  enum class State {
    absent,   // no daemon is listening, or access is denied
    pending,  // connected, no answer yet: call again in some milliseconds
    ready,    // the daemon has its database open
  };
  // Connects if there is no connection, and returns its state.
  State advance();
  State state() const noexcept { return state_; }
  // Does not reconnect before `pause` has passed.
  void close(std::chrono::steady_clock::duration pause = {}) noexcept;

 private:
  using Clock = std::chrono::steady_clock;
  bool connect();
  bool send_hello() noexcept;
  State receive();

  std::filesystem::path socket_;
  UniqueFd fd_;
  std::string answer_;
  State state_ = State::absent;
  Clock::time_point deadline_{};    // pending: when to stop waiting for an answer
  Clock::time_point not_before_{};  // absent: when to try again
};

}  // namespace nixbuild::store
