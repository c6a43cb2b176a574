// The build API as the client commands use it: typed answers, errors with the right exit code.
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

// Where to look if the server's name does not resolve: nowhere, or on this machine, which is said.
enum class Fallback : std::uint8_t { none, this_machine, this_machine_silently };
// A machine may be its own build server, as long as nobody has configured one.
Fallback fallback_of(const config::Configuration& configuration);

class ApiClient {
 public:
  // Reads the token's file. `timeout` bounds how long a request may take, where the usual is too
  // long. Throws UsageError when the server's address or the token is of no use.
  explicit ApiClient(const config::ClientOptions& options,
                     std::optional<std::chrono::milliseconds> timeout = std::nullopt,
                     Fallback fallback = Fallback::none);

  // Each throws UnreachableError when there is no answer, RefusedError when it is another than a T.
  template <typename T>
  T get(const std::string& path) {
    return parse<T>("GET", path, get(path));
  }
  template <typename T>
  T post(const std::string& path, const std::vector<net::HttpHeader>& headers = {}) {
    return parse<T>("POST", path,
                    reaching([&](net::HttpClient& http) { return http.post(path, {}, headers); }));
  }
  // An answer that is no JSON object of the protocol's.
  std::string text(const std::string& path);
  // Writes the answer to standard output as it comes.
  void print(const std::string& path);

  // The last lines of the answer.
  std::vector<std::string> last_lines(const std::string& path, std::size_t most);

  // To be called once another request has been answered.
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

// What a command is to use that asks a server several times: the options, with the server on this
// machine in them if the fallback applies, which is said then. Throws UsageError.
config::ClientOptions reachable_options(const config::Configuration& configuration);

}  // namespace nixbuild::cli
