// What a handler answers. The server turns it into bytes: Content-Length or chunked framing, HEAD,
// conditional and range requests, keep-alive and dates are its business, not the handler's.
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

// A whole file from its beginning, sent by sendfile(2). If the file is truncated while
// it is sent, the connection is cut.
struct FileBody {
  std::shared_ptr<const UniqueFd> file;
  std::uint64_t size = 0;  // bytes
};

// Thrown into a producer whose client disconnected, or read nothing for Limits::write_timeout.
class ClientGone : public Error {
 public:
  using Error::Error;
};

// Where a StreamBody's producer puts its bytes. Each call returns once the bytes are the kernel's,
// so a slow client holds back its producer, and throws when the connection is gone or stalled.
class BodyWriter {
 public:
  virtual ~BodyWriter() = default;
  virtual asio::awaitable<void> write(std::string_view bytes) = 0;
  // As write, but of `length` bytes of an open file from `offset`, by sendfile(2). Throws when the
  // file ends before that.
  virtual asio::awaitable<void> send_file(int fd, std::uint64_t offset, std::uint64_t length) = 0;
};

// A body made while it is sent. When the producer throws, or its bytes are not as many as
// announced, the connection is cut, so that a client never mistakes a part for the whole. (A
// producer that throws before any byte of the response has left is answered 500.)
struct StreamBody {
  // Content-Length where it is known, chunked framing where not (HTTP/1.0: until close).
  std::optional<std::uint64_t> size;
  // Writes bytes [offset, offset + length) of the body. Called with (0, *size), with the part that
  // a Range asks for, or with (0, UINT64_MAX) where the size is not known.
  std::function<asio::awaitable<void>(BodyWriter&, std::uint64_t offset, std::uint64_t length)>
      produce;
};

using Body = std::variant<std::monostate, std::string, SharedText, FileBody, StreamBody>;

struct Response {
  unsigned status = 200;
  std::string_view content_type = "text/plain; charset=utf-8";  // a literal
  Body body;
  std::string etag;                // with its quotes; If-None-Match is then answered 304
  std::string_view cache_control;  // a literal, empty: none
  // Whether `Accept-Ranges: bytes` is sent and a Range answered 206 (or 416), never 200, but for an
  // If-Range that names another etag. A Range that does not parse is 416 here, too. A body of
  // unknown size cannot be cut, so its handler must wait for the size when Request::range is set.
  bool accept_ranges = false;
  // A range that begins exactly at the end is answered by an empty 206, not 416: Nix asks so when a
  // download was cut between its last byte and the end of its framing, and takes 416 for a failure.
  bool empty_range_at_end = false;
  std::vector<std::pair<std::string_view, std::string>> headers;  // any more; names are literals
};

Response text_response(unsigned status, std::string text);
Response json_response(unsigned status, std::string json);

// What a handler returns: a response at once (the hot path, which then costs no coroutine), or one
// that comes later.
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
