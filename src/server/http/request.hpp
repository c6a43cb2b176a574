// One HTTP request, as a handler sees it. Views point into the connection's buffer and hold until
// the response has been sent.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace nixbuild::http {

// HEAD never reaches a handler: it sees GET, and the server sends no body.
enum class Method : std::uint8_t { get, post, put, del, options, other };

// `Range: bytes=…` with one range. Exactly one of the three forms: first-last, first-, -suffix.
struct RangeRequest {
  std::optional<std::uint64_t> first;
  std::optional<std::uint64_t> last;           // inclusive
  std::optional<std::uint64_t> suffix_length;  // the last N bytes
};

// The headers of a request; implemented over the parser's own storage, nothing is copied.
class RequestHeaders {
 public:
  virtual ~RequestHeaders() = default;
  // The first header of that name, compared without case; empty when there is none.
  virtual std::string_view get(std::string_view name) const = 0;
};

struct Request {
  Method method = Method::get;
  std::string_view target;  // as sent, at most Limits::target_size bytes
  // The target's path, percent-decoded once and checked: begins with '/', holds no NUL, no "." or
  // ".." segment however they were encoded. What fails that is answered 400 before any handler.
  std::string_view path;
  std::string_view query;  // behind '?', still encoded
  std::string_view body;   // at most the limit that the route set, empty without one
  std::string_view peer;   // "127.0.0.1:40312", or "unix"
  int socket = -1;         // the connection's: to ask the kernel about it, and for nothing else
  std::uint64_t connection = 0;  // a number of the connection, never used again
  const RequestHeaders* headers = nullptr;
  // What a GET's Range asks for. One that does not parse, or asks for several ranges, is not here:
  // the server answers it 416 where the response has accept_ranges, and ignores it elsewhere.
  std::optional<RangeRequest> range;

  std::string_view header(std::string_view name) const {
    return headers != nullptr ? headers->get(name) : std::string_view{};
  }
  // The decoded value of a query parameter; nothing when it is absent.
  std::optional<std::string> query_parameter(std::string_view name) const;
};

// What the placeholders of the route's pattern matched, in their order.
using PathParameters = std::span<const std::string_view>;

}  // namespace nixbuild::http
