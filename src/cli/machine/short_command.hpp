// Runs a program of this machine that answers at once.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/subprocess.hpp"

namespace nixbuild::cli {

// The path of a program in PATH.
std::optional<std::string> program_in_path(const std::string& name);

struct ShortCommand {
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::optional<std::string>>> environment;
  std::chrono::seconds limit{10};
};

// Runs the program to its end and kills it after `limit`, which Exit::error then says. Nothing if
// there is no such program.
std::optional<Exit> run_briefly(ShortCommand command);

}  // namespace nixbuild::cli
