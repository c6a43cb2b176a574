#include "common/config/problems.hpp"

namespace nixbuild::config {
namespace {

std::string joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines)
    out += (out.empty() ? "" : "\n") + line;
  return out;
}

}  // namespace

ConfigurationError::ConfigurationError(std::vector<std::string> problems)
    : UsageError(joined(problems)), problems_(std::move(problems)) {}

void Problems::throw_if_any() const {
  if (!all_.empty()) throw ConfigurationError(all_);
}

}  // namespace nixbuild::config
