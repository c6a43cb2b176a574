// The settings that SIGHUP replaces while the API is running.
#pragma once

#include <memory>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "common/config/build_options.hpp"
#include "server/api/access.hpp"
#include "server/api/serve_api.hpp"

namespace nixbuild::api {

struct Settings {
  std::vector<config::Repository> repositories;
  int max_parallel = 1;  // concurrent builds
  Access access;

  // The repository of that name, or the first if the name is empty; null if there is none.
  const config::Repository* repository(std::string_view name) const noexcept;
};

// Thread-safe. A handler keeps the settings with which it started.
class CurrentSettings {
 public:
  // Throws UsageError if the token file cannot be used.
  explicit CurrentSettings(const ServeOptions& options) : settings_(made_from(options)) {}

  std::shared_ptr<const Settings> get() const;
  // Throws like the constructor, and then keeps the current settings.
  void replace(const ServeOptions& options);

 private:
  static std::shared_ptr<const Settings> made_from(const ServeOptions& options);

  mutable std::mutex mutex_;
  std::shared_ptr<const Settings> settings_;
};

}  // namespace nixbuild::api
