// Ends a build early, on a signal or its timeout.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "common/base/error.hpp"
#include "common/base/unique_fd.hpp"

namespace nixbuild::builder {

// The build was interrupted. The message is the build's error: "cancelled", "timed out after 2 h".
class Interrupted : public Error {
 public:
  using Error::Error;
};

// From its construction on, SIGTERM, SIGINT and SIGHUP end the build instead of the process. Must
// be constructed before any thread starts.
class Interruption {
 public:
  Interruption();
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  void set_timeout(std::chrono::seconds timeout);

  // Becomes readable when the build must end.
  int fd() const noexcept { return both_.get(); }
  // Throws Interrupted if the build must end.
  void check();
  bool has_come();

 private:
  std::optional<std::string> reason();

  UniqueFd signals_;
  UniqueFd timer_;
  UniqueFd both_;
  std::chrono::seconds timeout_{0};
  std::optional<std::string> reason_;
};

}  // namespace nixbuild::builder
