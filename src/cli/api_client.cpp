#include "cli/api_client.hpp"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "cli/output.hpp"
#include "common/base/error.hpp"
#include "common/keys/token_file.hpp"

namespace nixbuild::cli {
namespace {

// An ErrorReply's reason.
std::optional<std::string> detail_of(const net::HttpResponse& response) {
  if (response.status < 400) return std::nullopt;
  try {
    std::string detail = protocol::from_json<protocol::ErrorReply>(response.body).detail;
    if (response.status == 401) {
      detail += "; its token goes into a file that --token-file or 'token_file' of [client] names";
    }
    return detail;
  } catch (const FormatError&) {
    return std::nullopt;
  }
}

net::HttpOptions options_of(const config::ClientOptions& client,
                            std::optional<std::chrono::milliseconds> patience) {
  net::HttpOptions options;
  options.server = net::parse_server_address(client.server);
  if (!client.token_file.empty()) options.token = keys::read_token_file(client.token_file);
  options.error_detail = detail_of;
  if (patience) options.connect_timeout = options.total_timeout = *patience;
  return options;
}

}  // namespace

ApiClient::ApiClient(const config::ClientOptions& options,
                     std::optional<std::chrono::milliseconds> patience)
    : http_(options_of(options, patience)) {}

std::string ApiClient::text(const std::string& path) {
  net::HttpResponse response = http_.get(path);
  expect_success("GET", path, response);
  return std::move(response.body);
}

void ApiClient::print(const std::string& path) {
  PiecePrinter printer;
  const auto response = http_.download(path, [&](std::string_view piece) { printer.print(piece); });
  printer.end();
  expect_success("GET", path, response);
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
  // What is no JSON at all is better described than complained of.
  if (!response.body.starts_with('{')) {
    net::throw_refused(http_.options(), fmt::format("{} {}", method, path), response);
  }
  throw net::RefusedError(
      fmt::format("{}: the answer to {} {} is not the API's: {}; check that port {} is "
                  "serve-api's, and of this "
                  "version",
                  server().host_port(), method, path, error.what(), server().port));
}

}  // namespace nixbuild::cli
