// A connection to the Nix daemon that asks for nothing: while it stands, the daemon's process has
// the store's database open, and with it the -wal and -shm files exist that a reader without write
// access needs but cannot make.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <string>

#include "common/base/unique_fd.hpp"

namespace nixbuild::store {

// Not thread-safe. No call waits.
class DaemonConnection {
 public:
  explicit DaemonConnection(std::filesystem::path socket);

  enum class State {
    absent,   // nobody listens, or we are not let in
    pending,  // connected; the daemon has not answered yet: ask again in some milliseconds
    ready,    // the daemon has its database open
  };
  // Connects when there is no connection, and says how far it has come.
  State advance();
  State state() const noexcept { return state_; }
  // The next connection is tried after `pause`.
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
  Clock::time_point deadline_{};    // pending: until when an answer is waited for
  Clock::time_point not_before_{};  // absent: when to try again
};

}  // namespace nixbuild::store
