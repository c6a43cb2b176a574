#include "cli/api_client.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <iterator>
#include <optional>
#include <utility>

#include "cli/output.hpp"
#include "common/base/error.hpp"
#include "common/keys/token_file.hpp"
#include "common/protocol/routes.hpp"

namespace nixbuild::cli {
namespace {

// The reason in an ErrorReply.
std::optional<std::string> detail_of(const net::HttpResponse& response) {
  if (response.status < 400) return std::nullopt;
  try {
    std::string detail = protocol::from_json<protocol::ErrorReply>(response.body).detail;
    if (response.status == 401) {
      detail +=
          "; write its token to a file and name that with --token-file, or token_file in [client]";
    }
    return detail;
  } catch (const FormatError&) {
    return std::nullopt;
  }
}

net::HttpOptions options_of(const config::ClientOptions& client,
                            std::optional<std::chrono::milliseconds> timeout) {
  net::HttpOptions options;
  options.server = net::parse_server_address(client.server);
  if (!client.token_file.empty()) options.token = keys::read_token_file(client.token_file);
  options.error_detail = detail_of;
  if (timeout) options.connect_timeout = options.total_timeout = *timeout;
  return options;
}

// The server that is installed on this machine, if no client was configured. Nothing if something
// other than serve-api listens there: development servers also use port 8000. It is sent no token,
// as it could not prove what it is.
std::optional<net::HttpOptions> server_on_this_machine(const net::HttpOptions& wanted) {
  net::HttpOptions options = wanted;
  options.server = net::parse_server_address(fmt::format("http://127.0.0.1:{}", net::api_port));
  options.token.clear();
  net::HttpOptions brief = options;
  brief.connect_timeout = std::min(brief.connect_timeout, std::chrono::milliseconds(500));
  brief.total_timeout = std::min(brief.total_timeout, std::chrono::milliseconds(2000));
  brief.body_limit = std::size_t{1} << 20;
  try {
    const net::HttpResponse response =
        net::HttpClient(brief).get(protocol::path_of(protocol::Operation::info));
    if (response.status != 200) return std::nullopt;
    const auto info = protocol::from_json<protocol::Info>(response.body);
    return info.version.empty() ? std::nullopt : std::optional(options);
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

Fallback fallback_of(const config::Configuration& configuration) {
  const config::Setting* setting = configuration.settings.find("client", "server");
  return setting->origin == config::Setting().origin ? Fallback::this_machine : Fallback::none;
}

ApiClient::ApiClient(const config::ClientOptions& options,
                     std::optional<std::chrono::milliseconds> timeout, Fallback fallback)
    : http_(options_of(options, timeout)), fallback_(fallback) {}

net::HttpResponse ApiClient::reaching(const Request& request) {
  try {
    return request(http_);
  } catch (const net::UnreachableError& error) {
    if (fallback_ == Fallback::none || !error.is_unresolved()) throw;
    const bool is_said = std::exchange(fallback_, Fallback::none) == Fallback::this_machine;
    auto found = server_on_this_machine(http_.options());
    if (!found) throw;
    if (is_said) {
      say(fmt::format("! The name '{}' does not resolve; using the server of this machine, {}",
                      server().host, found->server.base_url()));
    }
    http_ = net::HttpClient(std::move(*found));
  }
  return request(http_);
}

std::string ApiClient::text(const std::string& path) {
  net::HttpResponse response = get(path);
  expect_success("GET", path, response);
  return std::move(response.body);
}

void ApiClient::print(const std::string& path) {
  PiecePrinter printer;
  const auto response = reaching([&](net::HttpClient& http) {
    return http.download(path, [&](std::string_view piece) { printer.print(piece); });
  });
  printer.end();
  expect_success("GET", path, response);
}

std::vector<std::string> ApiClient::last_lines(const std::string& path, std::size_t most) {
  std::deque<std::string> lines;
  bool is_open = false;  // the last line has no line end yet
  const auto take = [&](std::string_view piece) {
    while (!piece.empty()) {
      const std::size_t end = piece.find('\n');
      if (!is_open) lines.emplace_back();
      lines.back() += piece.substr(0, end);
      is_open = end == std::string_view::npos;
      piece.remove_prefix(is_open ? piece.size() : end + 1);
      if (lines.size() > most) lines.pop_front();
    }
  };
  const auto response = reaching([&](net::HttpClient& http) { return http.download(path, take); });
  expect_success("GET", path, response);
  return {std::make_move_iterator(lines.begin()), std::make_move_iterator(lines.end())};
}

net::EventStream ApiClient::stream(const std::string& path) const {
  return net::EventStream(http_.options(), path);
}

void ApiClient::expect_success(std::string_view method, const std::string& path,
                               const net::HttpResponse& response) const {
  if (response.status == 200) return;
  net::throw_refused(http_.options(), fmt::format("{} {}", method, path), response);
}

void ApiClient::refuse_format(std::string_view method, const std::string& path,
                              const net::HttpResponse& response, const FormatError& error) const {
  // A body that is not JSON is described rather than reported as malformed.
  if (!response.body.starts_with('{')) {
    net::throw_refused(http_.options(), fmt::format("{} {}", method, path), response);
  }
  throw net::RefusedError(
      fmt::format("{}: unexpected answer to {} {}: {}; check that port {} is serve-api's, and that "
                  "its version matches",
                  server().host_port(), method, path, error.what(), server().port));
}

config::ClientOptions reachable_options(const config::Configuration& configuration) {
  config::ClientOptions options = configuration.client;
  const Fallback fallback = fallback_of(configuration);
  if (fallback == Fallback::none) return options;
  ApiClient api(options, std::nullopt, fallback);
  try {
    api.text(protocol::path_of(protocol::Operation::health));
  } catch (const Error&) {
    // The next caller gets the same error.
  }
  if (!api.server().is_local()) return options;
  options.server = api.server().base_url();
  options.token_file.clear();
  return options;
}

}  // namespace nixbuild::cli
