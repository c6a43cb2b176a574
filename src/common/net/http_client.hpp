// HTTP requests to one server, using libcurl.
//
// Redirects are not followed: an API does not move, so a redirect is a login page or a proxy.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.hpp"
#include "common/net/server_address.hpp"

namespace nixbuild::net {

// No response: the name does not resolve, nobody listens, or nothing comes back. The message says
// which host and port, and what to check.
class UnreachableError : public Error {
 public:
  // How far the attempt got.
  enum class Reason : std::uint8_t { other, unresolved, host_silent, no_answer };
  explicit UnreachableError(const std::string& message, Reason reason = Reason::other)
      : Error(message), reason_(reason) {}
  ExitCode exit_code() const noexcept override { return ExitCode::unreachable; }
  // Whether the host name does not exist.
  bool is_unresolved() const noexcept { return reason_ == Reason::unresolved; }
  // Whether the whole host appears to be unreachable, on any port.
  bool is_host_silent() const noexcept { return reason_ == Reason::host_silent; }
  // Whether the connection was accepted, but the response timed out.
  bool was_connected() const noexcept { return reason_ == Reason::no_answer; }

 private:
  Reason reason_;
};

// The response is not what was requested.
class RefusedError : public Error {
 public:
  explicit RefusedError(const std::string& message, unsigned status = 0)
      : Error(message), status_(status) {}
  ExitCode exit_code() const noexcept override { return ExitCode::refused; }
  unsigned status() const noexcept { return status_; }  // of HTTP; 0: there was no valid response
  // Whether the server understood and refused the request, so that a retry will not help.
  bool is_final() const noexcept { return status_ >= 400 && status_ < 500; }

 private:
  unsigned status_;
};

struct HttpResponse {
  unsigned status = 0;
  std::string content_type;  // as sent
  std::string location;      // of a redirect
  std::string date;          // the response's time by the server's clock, as sent
  std::string body;
};

struct HttpOptions {
  ServerAddress server;
  // What should listen there, for the advice in errors: the command, its systemd unit, its port.
  std::string service = "serve-api";
  std::string unit = "nixbuild-api";
  std::uint16_t usual_port = api_port;
  std::string token;  // sent as bearer token; empty: none
  // Extracts the reason from an error response in the server's own format; returns nothing for any
  // other response.
  std::function<std::optional<std::string>(const HttpResponse&)> error_detail = {};
  std::chrono::milliseconds connect_timeout{5'000};  // includes resolving the name
  std::chrono::milliseconds total_timeout{30'000};
  std::size_t body_limit = std::size_t{64} << 20;  // bytes
};

struct HttpHeader {
  std::string_view name;
  std::string value;
};

// The time of an HTTP date; nothing if `text` is not one.
std::optional<std::chrono::sys_seconds> parse_http_date(const std::string& text);

// Keeps its connection alive between requests. Not thread-safe; each thread needs its own.
class HttpClient {
 public:
  explicit HttpClient(HttpOptions options);
  ~HttpClient();
  HttpClient(HttpClient&&) noexcept;
  HttpClient& operator=(HttpClient&&) noexcept;

  // `path` begins with '/' and is appended to the server's base URL. Returns responses of any
  // status. Throws UnreachableError, or RefusedError if the response is not HTTP, incomplete or too
  // long.
  HttpResponse get(std::string_view path);
  // Sends the body as JSON, unless `headers` has another Content-Type.
  HttpResponse post(std::string_view path, std::string_view body = {},
                    const std::vector<HttpHeader>& headers = {});

  // Passes the body of a response with status 200, of any length, to `sink` piece by piece. Returns
  // the body of any other response. The transfer times out after 30 s without a byte; the total
  // timeout does not apply.
  using Sink = std::function<void(std::string_view piece)>;
  HttpResponse download(std::string_view path, const Sink& sink);

  const HttpOptions& options() const noexcept { return options_; }

 private:
  HttpOptions options_;
  struct Handle;
  std::unique_ptr<Handle> handle_;
};

// Throws RefusedError for an unexpected response, with the server's reason or else a description of
// the response. `request` is for example "GET /build/status".
[[noreturn]] void throw_refused(const HttpOptions& options, std::string_view request,
                                const HttpResponse& response);

}  // namespace nixbuild::net
