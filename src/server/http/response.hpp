// A handler's answer. The server, not the handler, handles Content-Length or chunked framing, HEAD,
// conditional and range requests, keep-alive and dates.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "common/base/error.hpp"
#include "common/base/unique_fd.hpp"

namespace nixbuild::http {

namespace asio = boost::asio;

// Text that several responses may share without copying it.
using SharedText = std::shared_ptr<const std::string>;

// A whole file from its beginning, sent by sendfile(2). If the file is truncated meanwhile, the
// connection is reset.
struct FileBody {
  std::shared_ptr<const UniqueFd> file;
  std::uint64_t size = 0;  // bytes
};

// Thrown into a producer if its client disconnected, or read nothing for Limits::write_timeout.
class ClientGone : public Error {
 public:
  using Error::Error;
};

// Where a StreamBody's producer writes its bytes. Each call returns once the kernel has accepted
// the bytes, so a slow client slows down its producer. Throws if the connection is gone or stalled.
class BodyWriter {
 public:
  virtual ~BodyWriter() = default;
  virtual asio::awaitable<void> write(std::string_view bytes) = 0;
  // Like write, but sends `length` bytes of an open file from `offset`, by sendfile(2). Throws if
  // the file is too short.
  virtual asio::awaitable<void> send_file(int fd, std::uint64_t offset, std::uint64_t length) = 0;
};

// A body produced while it is sent. If the producer throws, or writes a different number of bytes
// than announced, the connection is reset, so that a client never mistakes a partial body for a
// complete one. (If it throws before any byte of the response was sent, the client gets a 500.)
struct StreamBody {
  // Content-Length if known, otherwise chunked framing (for HTTP/1.0: until close).
  std::optional<std::uint64_t> size;
  // Writes bytes [offset, offset + length) of the body. Called with (0, *size), with the requested
  // range, or with (0, UINT64_MAX) if the size is unknown.
  std::function<asio::awaitable<void>(BodyWriter&, std::uint64_t offset, std::uint64_t length)>
      produce;
};

using Body = std::variant<std::monostate, std::string, SharedText, FileBody, StreamBody>;

struct Response {
  unsigned status = 200;
  std::string_view content_type = "text/plain; charset=utf-8";  // a literal
  Body body;
  std::string etag;                // with its quotes; If-None-Match is then answered 304
  std::string_view cache_control;  // a literal; empty for none
  // Whether to send `Accept-Ranges: bytes` and answer a Range with 206 (or 416), never 200, unless
  // If-Range names another etag. A malformed Range is then also answered with 416. A body of
  // unknown size cannot be cut, so its handler must wait for the size if Request::range is set.
  bool accept_ranges = false;
  // Answer a range that begins exactly at the end with an empty 206, not 416. Nix sends such a
  // request if a download was interrupted between its last byte and the end of its framing, and
  // treats 416 as a failure.
  bool empty_range_at_end = false;
  std::vector<std::pair<std::string_view, std::string>> headers;  // additional; names are literals
};

Response text_response(unsigned status, std::string text);
Response json_response(unsigned status, std::string json);

// What a handler returns: an immediate response (the hot path, which then needs no coroutine), or
// an asynchronous one.
class Reply {
 public:
  Reply(Response response) : value_(std::move(response)) {}  // NOLINT(google-explicit-constructor)
  Reply(asio::awaitable<Response> response)
      : value_(std::move(response)) {}  // NOLINT(google-explicit-constructor)

  std::variant<Response, asio::awaitable<Response>>& value() noexcept { return value_; }

 private:
  std::variant<Response, asio::awaitable<Response>> value_;
};

}  // namespace nixbuild::http
