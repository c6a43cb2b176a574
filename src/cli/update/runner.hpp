// Runs programs for system-update: quietly, or in the foreground if they talk to the person at the
// terminal. Ctrl-C ends them too.
#pragma once

#include <exception>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "cli/interrupt.hpp"
#include "common/base/subprocess.hpp"

namespace nixbuild::cli {

// Ctrl-C or another signal interrupted this process. Not an Error, as it needs no message.
class Interrupted : public std::exception {};

class Runner {
 public:
  Runner() = default;

  // Runs it to its end; its output is in Exit. Throws Interrupted, and SystemError if it cannot be
  // started.
  Exit quiet(Command command) const;
  // Runs `nix ARGUMENTS…` the same way, with flakes enabled and the options below.
  Exit nix(std::vector<std::string> arguments, const std::filesystem::path& directory = {}) const;

  // Runs it in the foreground, with its standard output on our standard error, and returns its exit
  // code. Throws like `quiet`.
  int foreground(const std::vector<std::string>& arguments,
                 const std::filesystem::path& directory) const;

  // Nix settings for every command, as --option NAME VALUE takes them.
  std::vector<std::pair<std::string, std::string>> options;
  std::vector<std::string> option_arguments() const;

 private:
  InterruptGuard guard_;
};

// The program's path. Throws Error with `advice` if it is not in PATH.
std::string need_program(const std::string& name, const std::string& advice);

}  // namespace nixbuild::cli
