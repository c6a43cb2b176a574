#include "server/proxy/kept_narinfo.hpp"

#include <fmt/format.h>

#include <charconv>
#include <system_error>

#include "common/base/error.hpp"

namespace nixbuild::proxy {
namespace {

constexpr std::string_view first_line = "nixbuild-narinfo 1";
constexpr std::string_view fetched_field = "Fetched: ";
constexpr std::string_view etag_field = "ETag: ";
constexpr std::string_view hash_field = "FileHash: ";

std::string_view next_line(std::string_view& rest) {
  const std::size_t end = rest.find('\n');
  if (end == std::string_view::npos) throw FormatError("the head has no end");
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  return line;
}

std::int64_t parse_seconds(std::string_view text) {
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size() || seconds < 0) {
    throw FormatError("Fetched is not a time");
  }
  return seconds;
}

}  // namespace

std::string render_kept_narinfo(const KeptNarinfo& kept) {
  std::string out = fmt::format("{}\n{}{}\n", first_line, fetched_field, kept.fetched);
  if (!kept.etag.empty()) out += fmt::format("{}{}\n", etag_field, kept.etag);
  if (kept.measured_hash) {
    out += fmt::format("{}{}\n", hash_field, kept.measured_hash->prefixed_base32());
  }
  out += '\n';
  out += kept.text;
  return out;
}

KeptNarinfo parse_kept_narinfo(std::string_view bytes) {
  KeptNarinfo kept;
  if (next_line(bytes) != first_line) throw FormatError("it does not begin with its version");
  std::string_view line = next_line(bytes);
  if (!line.starts_with(fetched_field)) throw FormatError("Fetched is missing");
  kept.fetched = parse_seconds(line.substr(fetched_field.size()));
  line = next_line(bytes);
  if (line.starts_with(etag_field) && line.size() > etag_field.size()) {
    kept.etag = line.substr(etag_field.size());
    line = next_line(bytes);
  }
  if (line.starts_with(hash_field)) {
    kept.measured_hash = nix::Sha256::parse(line.substr(hash_field.size()));
    if (!kept.measured_hash) throw FormatError("FileHash is not a SHA-256");
    line = next_line(bytes);
  }
  if (!line.empty()) throw FormatError("the head has an unknown line");
  kept.text = bytes;
  return kept;
}

}  // namespace nixbuild::proxy
