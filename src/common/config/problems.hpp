// Collects all problems of a configuration instead of stopping at the first.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "common/base/error.hpp"

namespace nixbuild::config {

// Its message has one problem on each line.
class ConfigurationError : public UsageError {
 public:
  explicit ConfigurationError(std::vector<std::string> problems);
  const std::vector<std::string>& problems() const noexcept { return problems_; }

 private:
  std::vector<std::string> problems_;
};

// Collects the UsageErrors of several functions.
class Problems {
 public:
  template <typename Work>
  void attempt(Work&& work) {
    try {
      std::forward<Work>(work)();
    } catch (const ConfigurationError& error) {
      all_.insert(all_.end(), error.problems().begin(), error.problems().end());
    } catch (const UsageError& error) {
      all_.emplace_back(error.what());
    }
  }
  // Throws ConfigurationError if there was any.
  void throw_if_any() const;

 private:
  std::vector<std::string> all_;
};

}  // namespace nixbuild::config
