#include "server/api/signed_records.hpp"

#include <fmt/format.h>

#include <chrono>
#include <string>
#include <string_view>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "common/net/http_client.hpp"
#include "common/protocol/json.hpp"
#include "server/api/answers.hpp"

namespace nixbuild::api {
namespace {

constexpr std::chrono::seconds timeout{10};

net::HttpOptions options_for(const std::filesystem::path& socket) {
  net::HttpOptions options;
  options.server.host = "localhost";
  options.server.unix_socket = socket.string();
  options.service = "serve-cache";
  options.unit = "nixbuild-cache";
  options.connect_timeout = timeout;
  options.total_timeout = timeout;
  return options;
}

std::string_view first_line(std::string_view text) {
  return text.substr(0, text.find('\n'));
}

}  // namespace

http::Response signed_record(const std::filesystem::path& control_socket, std::int64_t id) {
  std::string problem;
  try {
    net::HttpClient cache(options_for(control_socket));
    const net::HttpResponse response = cache.get(fmt::format("/records/{}", id));
    if (response.status == 200) {
      const auto record = protocol::from_json<protocol::SignedRecord>(response.body);
      return http::json_response(200, protocol::to_json(record));
    }
    problem = first_line(response.body);
    if (response.status == 404) return error_response(404, problem);
  } catch (const Error& error) {
    problem = first_line(error.what());
  }
  log::warn("no signed record of build {}: {}", id, problem);
  return error_response(503, fmt::format("serve-cache signs no record: {}", problem));
}

}  // namespace nixbuild::api
