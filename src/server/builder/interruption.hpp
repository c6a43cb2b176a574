// What ends a build before its time: a signal, or its timeout.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "common/base/error.hpp"
#include "common/base/unique_fd.hpp"

namespace nixbuild::builder {

// The build was told to end. The message is the build's error: "cancelled", "timed out after 2 h".
class Interrupted : public Error {
 public:
  using Error::Error;
};

// From its making on, SIGTERM, SIGINT and SIGHUP end the build instead of the process. To be made
// before any thread is.
class Interruption {
 public:
  Interruption();
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  void set_timeout(std::chrono::seconds timeout);

  // Readable once the build has to end.
  int fd() const noexcept { return both_.get(); }
  // Throws Interrupted once the build has to end.
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
