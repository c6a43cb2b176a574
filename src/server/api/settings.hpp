// What SIGHUP replaces while the API serves.
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
  int max_parallel = 1;  // builds at once
  Access access;

  // The repository of that name, or the first if the name is empty; null if there is none.
  const config::Repository* repository(std::string_view name) const noexcept;
};

// Thread-safe. A handler holds on to the settings that it began with.
class CurrentSettings {
 public:
  // Throws UsageError for a token file that cannot be used.
  explicit CurrentSettings(const ServeOptions& options) : settings_(made_from(options)) {}

  std::shared_ptr<const Settings> get() const;
  // Throws as the constructor does, and keeps what it has then.
  void replace(const ServeOptions& options);

 private:
  static std::shared_ptr<const Settings> made_from(const ServeOptions& options);

  mutable std::mutex mutex_;
  std::shared_ptr<const Settings> settings_;
};

}  // namespace nixbuild::api
