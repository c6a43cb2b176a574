#include "cli/api_client.hpp"

#include <fmt/format.h>

#include <deque>
#include <iterator>
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

}  // namespace

ApiClient::ApiClient(const config::ClientOptions& options,
                     std::optional<std::chrono::milliseconds> timeout)
    : http_(options_of(options, timeout)) {}

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

std::vector<std::string> ApiClient::last_lines(const std::string& path, std::size_t most) {
  std::deque<std::string> lines;
  bool is_open = false;  // the last line has no end yet
  const auto response = http_.download(path, [&](std::string_view piece) {
    while (!piece.empty()) {
      const std::size_t end = piece.find('\n');
      if (!is_open) lines.emplace_back();
      lines.back() += piece.substr(0, end);
      is_open = end == std::string_view::npos;
      piece.remove_prefix(is_open ? piece.size() : end + 1);
      if (lines.size() > most) lines.pop_front();
    }
  });
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
  // What is no JSON at all is better described than complained of.
  if (!response.body.starts_with('{')) {
    net::throw_refused(http_.options(), fmt::format("{} {}", method, path), response);
  }
  throw net::RefusedError(
      fmt::format("{}: unexpected answer to {} {}: {}; check that port {} is serve-api's, and that "
                  "its version matches",
                  server().host_port(), method, path, error.what(), server().port));
}

}  // namespace nixbuild::cli
