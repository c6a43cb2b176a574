#include "server/http/conditions.hpp"

#include <algorithm>
#include <limits>

#include "server/http/ascii.hpp"

namespace nixbuild::http {
namespace {

// Accepts digits only. Saturates at the largest number, which is a position past the end of any
// body.
bool parse_position(std::string_view digits, std::uint64_t& out) {
  constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  if (digits.empty()) return false;
  out = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return false;
    const auto digit = static_cast<std::uint64_t>(c - '0');
    out = out > (most - digit) / 10 ? most : out * 10 + digit;
  }
  return true;
}

}  // namespace

ParsedRange parse_range(std::string_view header) {
  ParsedRange parsed;
  header = trim(header);
  const std::size_t equals = header.find('=');
  if (equals == std::string_view::npos) {
    if (!header.empty()) parsed.form = RangeForm::malformed;
    return parsed;
  }
  if (!iequals(trim(header.substr(0, equals)), "bytes")) return parsed;
  const std::string_view set = trim(header.substr(equals + 1));
  const std::size_t dash = set.find('-');
  parsed.form = RangeForm::malformed;
  if (dash == std::string_view::npos) return parsed;
  const std::string_view first_text = set.substr(0, dash);
  const std::string_view last_text = set.substr(dash + 1);
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  if (first_text.empty()) {
    if (!parse_position(last_text, last)) return parsed;
    parsed.range.suffix_length = last;
  } else {
    if (!parse_position(first_text, first)) return parsed;
    if (!last_text.empty()) {
      if (!parse_position(last_text, last) || last < first) return parsed;
      parsed.range.last = last;
    }
    parsed.range.first = first;
  }
  parsed.form = RangeForm::one;
  return parsed;
}

std::optional<ByteSpan> resolve_range(const RangeRequest& range, std::uint64_t size,
                                      bool empty_at_end) {
  if (range.suffix_length) {
    const std::uint64_t length = std::min(*range.suffix_length, size);
    if (length == 0) return std::nullopt;
    return ByteSpan{size - length, length};
  }
  const std::uint64_t first = range.first.value_or(0);
  if (first == size && empty_at_end) return ByteSpan{size, 0};
  if (first >= size) return std::nullopt;
  const std::uint64_t last = std::min(range.last.value_or(size - 1), size - 1);
  return ByteSpan{first, last - first + 1};
}

bool none_match_hits(std::string_view header, std::string_view etag) {
  header = trim(header);
  if (header.empty() || etag.empty()) return false;
  if (header == "*") return true;
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  while (!header.empty()) {
    if (header.front() == ',' || header.front() == ' ' || header.front() == '\t') {
      header.remove_prefix(1);
      continue;
    }
    if (header.starts_with("W/")) header.remove_prefix(2);
    if (!header.starts_with('"')) return false;
    const std::size_t close = header.find('"', 1);
    if (close == std::string_view::npos) return false;
    if (header.substr(0, close + 1) == etag) return true;
    header.remove_prefix(close + 1);
  }
  return false;
}

bool if_range_holds(std::string_view header, std::string_view etag) {
  header = trim(header);
  if (header.empty()) return true;
  return header.starts_with('"') && header == etag;
}

}  // namespace nixbuild::http
