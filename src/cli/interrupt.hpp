// Handles Ctrl-C while waiting: noticed at once, and still the end of the process.
#pragma once

namespace nixbuild::cli {

// While one exists, SIGINT, SIGTERM and SIGHUP are reported by it instead of ending the process.
// Only one may exist at a time.
class InterruptGuard {
 public:
  InterruptGuard();  // throws SystemError
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  // Becomes readable when the first signal arrives.
  int fd() const noexcept;
  bool is_interrupted() const noexcept;

  // Ends the process by the received signal, so that its parent sees the right status.
  [[noreturn]] static void die();
};

}  // namespace nixbuild::cli
