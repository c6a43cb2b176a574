// One HTTP request, as a handler sees it. Views point into the connection's buffer and are valid
// until the response has been sent.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace nixbuild::http {

// HEAD is GET for handlers, and the server omits the body; see Request::is_head.
enum class Method : std::uint8_t { get, post, put, del, options, other };

// `Range: bytes=…` with one range. Exactly one of the three forms: first-last, first-, -suffix.
struct RangeRequest {
  std::optional<std::uint64_t> first;
  std::optional<std::uint64_t> last;           // inclusive
  std::optional<std::uint64_t> suffix_length;  // the last N bytes
};

// The headers of a request, read from the parser's own storage without copying.
class RequestHeaders {
 public:
  virtual ~RequestHeaders() = default;
  // The first header of that name, ignoring case; empty if there is no such header.
  virtual std::string_view get(std::string_view name) const = 0;
};

struct Request {
  Method method = Method::get;
  bool is_head = false;     // a body need not be made, if its size is known without
  std::string_view target;  // as sent, at most Limits::target_size bytes
  // The target's path, percent-decoded once and checked: it begins with '/' and contains no NUL and
  // no "." or ".." segment, however encoded. Other paths are answered 400 before any handler.
  std::string_view path;
  std::string_view query;        // after '?', still encoded
  std::string_view body;         // at most the limit that the route set; empty if there is none
  std::string_view peer;         // "127.0.0.1:40312", or "unix"
  int socket = -1;               // the connection's; only for querying the kernel about it
  std::uint64_t connection = 0;  // a number of the connection, never reused
  const RequestHeaders* headers = nullptr;
  // The range that a GET asks for. A malformed Range, or one with several ranges, is not included:
  // the server answers it with 416 if the response has accept_ranges, and otherwise ignores it.
  std::optional<RangeRequest> range;

  std::string_view header(std::string_view name) const {
    return headers != nullptr ? headers->get(name) : std::string_view{};
  }
  // The decoded value of a query parameter; nothing if it is absent.
  std::optional<std::string> query_parameter(std::string_view name) const;
};

// What the placeholders of the route's pattern matched, in their order.
using PathParameters = std::span<const std::string_view>;

}  // namespace nixbuild::http
