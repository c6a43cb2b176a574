#include "server/api/repositories.hpp"

#include <string>

#include "common/config/service_settings.hpp"
#include "common/protocol/json.hpp"
#include "common/protocol/names.hpp"

namespace nixbuild::api {

http::Response Repositories::list() {
  protocol::RepositoryList list;
  const auto settings = settings_.get();
  for (const config::Repository& repository : settings->repositories) {
    list.repositories.push_back(
        {repository.name, config::without_credentials(repository.url), repository.branch,
         std::string(protocol::lock_kinds[static_cast<std::size_t>(repository.lock)])});
  }
  return http::json_response(200, protocol::to_json(list));
}

http::Response Repositories::status(const std::string& repository, std::uint64_t changes) {
  http::Response response = http::json_response(200, {});
  response.body = live_status_.get().json(repository, changes);
  response.cache_control = "no-cache";
  return response;
}

}  // namespace nixbuild::api
