// Ctrl-C while something is waited for: noticed at once, and still the end of the process.
#pragma once

namespace nixbuild::cli {

// As long as one lives, SIGINT, SIGTERM and SIGHUP do not end the process but are told by it.
// There can be one at a time.
class InterruptGuard {
 public:
  InterruptGuard();  // throws SystemError
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  // Becomes readable with the first signal.
  int fd() const noexcept;
  bool is_interrupted() const noexcept;

  // Ends the process by the signal that came, so that whoever started it sees that.
  [[noreturn]] static void die();
};

}  // namespace nixbuild::cli
