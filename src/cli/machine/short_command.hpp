// Asking a program of this machine something that it answers at once.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/subprocess.hpp"

namespace nixbuild::cli {

// Where a program of this name is, by PATH.
std::optional<std::string> program_in_path(const std::string& name);

struct ShortCommand {
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::optional<std::string>>> environment;
  std::chrono::seconds limit{10};
};

// Runs it to its end; after `limit` it is killed, which Exit::error tells. Nothing where there is
// no such program.
std::optional<Exit> run_briefly(ShortCommand command);

}  // namespace nixbuild::cli
