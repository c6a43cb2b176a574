// The exceptions of this program.
//
// A message says what was tried, on what, and what to do about it, for a person who has not read
// the code. An absent thing is not an error: functions return std::optional for that.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "common/base/exit_code.hpp"

namespace nixbuild {

class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(message) {}

  // The exit code of the process if nobody handles this error.
  virtual ExitCode exit_code() const noexcept { return ExitCode::failed; }
};

// The command line or a configuration file is invalid.
class UsageError : public Error {
 public:
  using Error::Error;
  ExitCode exit_code() const noexcept override { return ExitCode::usage; }
};

// Bytes from outside (a narinfo, a NAR, a key, a database row) are malformed.
class FormatError : public Error {
 public:
  using Error::Error;
};

// A system call failed. The message is `what` followed by the meaning of `error_number`.
class SystemError : public Error {
 public:
  SystemError(int error_number, std::string_view what);
  int error_number() const noexcept { return error_number_; }

 private:
  int error_number_;
};

}  // namespace nixbuild
