// HTTP requests to one server, through libcurl.
//
// Redirects are not followed: an API does not move, and what redirects is a login page or a proxy.
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

// No answer came: the name does not resolve, nobody listens, nothing comes back. The message says
// which host and port, and what to check.
class UnreachableError : public Error {
 public:
  // How far the attempt got, as far as it matters to somebody.
  enum class Reason : std::uint8_t { other, unresolved, host_silent, no_answer };
  explicit UnreachableError(const std::string& message, Reason reason = Reason::other)
      : Error(message), reason_(reason) {}
  ExitCode exit_code() const noexcept override { return ExitCode::unreachable; }
  // Whether the host's name does not exist.
  bool is_unresolved() const noexcept { return reason_ == Reason::unresolved; }
  // Whether the host as a whole cannot be reached, as far as can be told: nothing of it is to be
  // had on any port.
  bool is_host_silent() const noexcept { return reason_ == Reason::host_silent; }
  // Whether somebody accepted the connection, but did not answer in time.
  bool was_connected() const noexcept { return reason_ == Reason::no_answer; }

 private:
  Reason reason_;
};

// Something answered, but not with what was asked for.
class RefusedError : public Error {
 public:
  explicit RefusedError(const std::string& message, unsigned status = 0)
      : Error(message), status_(status) {}
  ExitCode exit_code() const noexcept override { return ExitCode::refused; }
  unsigned status() const noexcept { return status_; }  // of HTTP; 0: it did not get that far
  // Whether the server has understood the request and says no: asking again will not help.
  bool is_final() const noexcept { return status_ >= 400 && status_ < 500; }

 private:
  unsigned status_;
};

struct HttpResponse {
  unsigned status = 0;
  std::string content_type;  // as sent
  std::string location;      // of a redirect
  std::string date;          // when it was made by the server's clock, as sent
  std::string body;
};

struct HttpOptions {
  ServerAddress server;
  // Who is expected there, for the advice in errors: the command, its systemd unit, its port.
  std::string service = "serve-api";
  std::string unit = "nixbuild-api";
  std::uint16_t usual_port = api_port;
  std::string token;  // sent as bearer token; empty: none
  // The reason that an answer gives for itself in the server's own form; nothing where it is not of
  // that form.
  std::function<std::optional<std::string>(const HttpResponse&)> error_detail = {};
  std::chrono::milliseconds connect_timeout{5'000};  // with the resolving of the name
  std::chrono::milliseconds total_timeout{30'000};
  std::size_t body_limit = std::size_t{64} << 20;  // bytes
};

struct HttpHeader {
  std::string_view name;
  std::string value;
};

// The time of an HTTP date; nothing when `text` is none.
std::optional<std::chrono::sys_seconds> parse_http_date(const std::string& text);

// Keeps its connection from one request to the next. Not thread-safe; each thread has its own.
class HttpClient {
 public:
  explicit HttpClient(HttpOptions options);
  ~HttpClient();
  HttpClient(HttpClient&&) noexcept;
  HttpClient& operator=(HttpClient&&) noexcept;

  // `path` begins with '/' and is appended to the server's base URL. An answer of any status is
  // returned. Throws UnreachableError, or RefusedError where the answer is not HTTP, is cut off or
  // too long.
  HttpResponse get(std::string_view path);
  // The body is sent as JSON, unless `headers` has another Content-Type.
  HttpResponse post(std::string_view path, std::string_view body = {},
                    const std::vector<HttpHeader>& headers = {});

  // A body of any length, of an answer with status 200, given to `sink` piece by piece; that of
  // another answer is returned. Instead of the total timeout, 30 s without a byte end it.
  using Sink = std::function<void(std::string_view piece)>;
  HttpResponse download(std::string_view path, const Sink& sink);

  const HttpOptions& options() const noexcept { return options_; }

 private:
  HttpOptions options_;
  struct Handle;
  std::unique_ptr<Handle> handle_;
};

// Throws RefusedError for an answer that is not what was asked for, with the reason that the server
// gives or else a description of what came. `request` is such as "GET /build/status".
[[noreturn]] void throw_refused(const HttpOptions& options, std::string_view request,
                                const HttpResponse& response);

}  // namespace nixbuild::net
