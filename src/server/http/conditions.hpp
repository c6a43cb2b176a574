// Range, If-Range and If-None-Match (RFC 9110, sections 13 and 14). Does no I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "server/http/request.hpp"

namespace nixbuild::http {

// The form of a Range header. Units other than bytes must be ignored (RFC 9110, 14.2); several
// ranges, or none that parses, are malformed.
enum class RangeForm : std::uint8_t { none, one, malformed };

struct ParsedRange {
  RangeForm form = RangeForm::none;
  RangeRequest range;  // if RangeForm::one
};

// `header` is the value of Range, or empty if absent.
ParsedRange parse_range(std::string_view header);

struct ByteSpan {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

// Resolves the range against a body of `size` bytes; nothing if it lies outside. With
// `empty_at_end`, a range that begins at the end resolves to an empty span there.
std::optional<ByteSpan> resolve_range(const RangeRequest& range, std::uint64_t size,
                                      bool empty_at_end);

// Whether If-None-Match names `etag` (weak comparison) or is "*".
bool none_match_hits(std::string_view header, std::string_view etag);

// Whether If-Range permits a Range: it is absent or the same strong `etag`. Dates never match,
// because no Last-Modified is sent.
bool if_range_holds(std::string_view header, std::string_view etag);

}  // namespace nixbuild::http
