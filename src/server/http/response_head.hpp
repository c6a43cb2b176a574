// Formats a response's status line and headers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/http/response.hpp"

namespace nixbuild::http {

enum class Framing : std::uint8_t {
  length,   // Content-Length
  chunked,  // Transfer-Encoding: chunked
  close,    // the body ends with the connection
  none,     // the status allows no body: 1xx, 204, 304
};

struct HeadFacts {
  unsigned status = 200;
  Framing framing = Framing::length;
  std::uint64_t length = 0;     // of the body, for Framing::length
  std::string_view date;        // "Date: …\r\n"
  std::string_view connection;  // "close", "keep-alive" or empty
  std::string content_range;    // empty for none
};

// Appends the head of `response` to `out`. Throws std::logic_error if one of the handler's headers
// contains a line break.
void append_head(std::string& out, const Response& response, const HeadFacts& facts);

// "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" for seconds since 1970.
std::string date_line(std::int64_t seconds);

}  // namespace nixbuild::http
