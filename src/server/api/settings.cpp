#include "server/api/settings.hpp"

#include <string>

#include "common/keys/token_file.hpp"

namespace nixbuild::api {

const config::Repository* Settings::repository(std::string_view name) const noexcept {
  for (const config::Repository& repository : repositories) {
    if (name.empty() || repository.name == name) return &repository;
  }
  return nullptr;
}

std::shared_ptr<const Settings> CurrentSettings::made_from(const ServeOptions& options) {
  std::string token;
  if (!options.api.token_file.empty()) token = keys::read_token_file(options.api.token_file);
  return std::make_shared<const Settings>(
      Settings{options.repositories, options.max_parallel, Access(std::move(token))});
}

std::shared_ptr<const Settings> CurrentSettings::get() const {
  const std::lock_guard lock(mutex_);
  return settings_;
}

void CurrentSettings::replace(const ServeOptions& options) {
  auto fresh = made_from(options);
  const std::lock_guard lock(mutex_);
  settings_ = std::move(fresh);
}

}  // namespace nixbuild::api
