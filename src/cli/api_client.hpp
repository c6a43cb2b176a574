// The build API for client commands: typed responses, and errors with the right exit code.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/configuration.hpp"
#include "common/net/event_stream.hpp"
#include "common/net/http_client.hpp"
#include "common/protocol/json.hpp"

namespace nixbuild::cli {

// Where to look if the server's name does not resolve: nowhere, or on this machine, with a message.
enum class Fallback : std::uint8_t { none, this_machine, this_machine_silently };
// A machine may be its own build server as long as no server is configured.
Fallback fallback_of(const config::Configuration& configuration);

class ApiClient {
 public:
  // Reads the token file. `timeout` bounds each request, if the default is too long. Throws
  // UsageError if the server's address or the token is invalid.
  explicit ApiClient(const config::ClientOptions& options,
                     std::optional<std::chrono::milliseconds> timeout = std::nullopt,
                     Fallback fallback = Fallback::none);

  // Each throws UnreachableError if there is no response, RefusedError if it is not a T.
  template <typename T>
  T get(const std::string& path) {
    return parse<T>("GET", path, get(path));
  }
  template <typename T>
  T post(const std::string& path, const std::vector<net::HttpHeader>& headers = {}) {
    return parse<T>("POST", path,
                    reaching([&](net::HttpClient& http) { return http.post(path, {}, headers); }));
  }
  // A response that is not a JSON object of the protocol.
  std::string text(const std::string& path);
  // Writes the response to standard output as it arrives.
  void print(const std::string& path);

  // The last lines of the response.
  std::vector<std::string> last_lines(const std::string& path, std::size_t most);

  // To be called after another request has succeeded.
  net::EventStream stream(const std::string& path) const;

  const net::ServerAddress& server() const noexcept { return http_.options().server; }

 private:
  using Request = std::function<net::HttpResponse(net::HttpClient& http)>;
  net::HttpResponse get(const std::string& path) {
    return reaching([&](net::HttpClient& http) { return http.get(path); });
  }
  net::HttpResponse reaching(const Request& request);

  template <typename T>
  T parse(std::string_view method, const std::string& path, const net::HttpResponse& response) {
    expect_success(method, path, response);
    try {
      return protocol::from_json<T>(response.body);
    } catch (const FormatError& error) {
      refuse_format(method, path, response, error);
    }
  }
  void expect_success(std::string_view method, const std::string& path,
                      const net::HttpResponse& response) const;
  [[noreturn]] void refuse_format(std::string_view method, const std::string& path,
                                  const net::HttpResponse& response,
                                  const FormatError& error) const;

  net::HttpClient http_;
  Fallback fallback_;
};

// The options for a command that asks a server several times. If the fallback applies, they name
// the server on this machine, and a message says so. Throws UsageError.
config::ClientOptions reachable_options(const config::Configuration& configuration);

}  // namespace nixbuild::cli
