// Range, If-Range and If-None-Match (RFC 9110, sections 13 and 14), without any I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "server/http/request.hpp"

namespace nixbuild::http {

// How a Range header reads. Units other than bytes are to be ignored (RFC 9110, 14.2); several
// ranges, or none that parses, are malformed.
enum class RangeForm : std::uint8_t { none, one, malformed };

struct ParsedRange {
  RangeForm form = RangeForm::none;
  RangeRequest range;  // of RangeForm::one
};

// `header` is the value of Range, empty without one.
ParsedRange parse_range(std::string_view header);

struct ByteSpan {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

// What of a body of `size` bytes the range means; nothing when it lies outside. With
// `empty_at_end`, a range that begins at the end is the empty span there.
std::optional<ByteSpan> resolve_range(const RangeRequest& range, std::uint64_t size,
                                      bool empty_at_end);

// Whether If-None-Match names `etag` (weak comparison) or is "*".
bool none_match_hits(std::string_view header, std::string_view etag);

// Whether a Range may be honoured under this If-Range: it is absent or the same strong `etag`.
// Dates never match, as no Last-Modified is sent.
bool if_range_holds(std::string_view header, std::string_view etag);

}  // namespace nixbuild::http
