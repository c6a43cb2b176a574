// Running programs for system-update: quietly, or in the foreground where they talk to the person
// at the terminal; Ctrl-C ends them, too.
#pragma once

#include <exception>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "cli/interrupt.hpp"
#include "common/base/subprocess.hpp"

namespace nixbuild::cli {

// Ctrl-C or another signal asked this process to end. Not an Error: nothing is to be said of it.
class Interrupted : public std::exception {};

class Runner {
 public:
  Runner() = default;

  // Runs it to its end; what it writes is in Exit. Throws Interrupted, SystemError when it cannot
  // be started.
  Exit quiet(Command command) const;
  // `nix ARGUMENTS…` the same way, with flakes turned on and the options below.
  Exit nix(std::vector<std::string> arguments, const std::filesystem::path& directory = {}) const;

  // Runs it in the foreground, its standard output on our standard error, and returns its exit
  // code. Throws as `quiet` does.
  int foreground(const std::vector<std::string>& arguments,
                 const std::filesystem::path& directory) const;

  // Nix settings for every command, as --option NAME VALUE takes them.
  std::vector<std::pair<std::string, std::string>> options;
  std::vector<std::string> option_arguments() const;

 private:
  InterruptGuard guard_;
};

// The program's path. Throws Error with `advice` where PATH has none of that name.
std::string need_program(const std::string& name, const std::string& advice);

}  // namespace nixbuild::cli
