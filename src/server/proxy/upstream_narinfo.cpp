#include "server/proxy/upstream_narinfo.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/error.hpp"
#include "common/nix/hash.hpp"
#include "common/nix/text.hpp"

namespace nixbuild::proxy {
namespace {

constexpr std::size_t url_limit = 1024;
constexpr std::size_t id_length = 16;
constexpr std::string_view uncompressed = "none";

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-' || c == '+' || c == '=' || c == '~';
}

bool is_query(char c) {
  return is_plain(c) || c == '&' || c == '%' || c == '/' || c == ':';
}

// `text` with another value in its line "URL: …", of which parse_narinfo has found exactly one.
std::string with_url(std::string_view text, std::string_view url) {
  constexpr std::string_view field = "URL: ";
  std::size_t begin = 0;
  while (text.substr(begin, field.size()) != field)
    begin = text.find('\n', begin) + 1;
  begin += field.size();
  const std::size_t end = text.find('\n', begin);
  std::string result;
  result.reserve(text.size() + url.size());
  result += text.substr(0, begin);
  result += url;
  result += text.substr(end);
  return result;
}

}  // namespace

std::optional<std::string_view> file_of_url(std::string_view url) {
  if (url.size() > url_limit) return std::nullopt;
  const std::size_t question = url.find('?');
  std::string_view path = url.substr(0, question);
  if (question != std::string_view::npos) {
    const std::string_view query = url.substr(question + 1);
    if (!std::all_of(query.begin(), query.end(), is_query)) return std::nullopt;
  }
  // No part is empty, so it begins with no slash, either.
  for (;;) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part.empty() || part == "." || part == ".." ||
        !std::all_of(part.begin(), part.end(), is_plain)) {
      return std::nullopt;
    }
    if (slash == std::string_view::npos) return part;
    path.remove_prefix(slash + 1);
  }
}

UpstreamNarinfo parse_upstream_narinfo(const nix::StoreDir& store_dir, std::string_view hash_part,
                                       std::string_view upstream_id, std::string_view text) {
  if (text.size() > narinfo_limit) throw FormatError("the narinfo is too long");
  nix::NarInfo fields = nix::parse_narinfo(store_dir, text);
  if (fields.info.path.hash_part() != hash_part) {
    throw FormatError(fmt::format("it is the narinfo of {}", fields.info.path.base_name()));
  }
  const auto found = file_of_url(fields.url);
  if (!found) {
    throw FormatError(fmt::format("the URL {} leads out of the cache", nix::printable(fields.url)));
  }
  std::string file(*found);
  std::string rewritten = with_url(text, fmt::format("nar/{}/{}/{}", hash_part, upstream_id, file));
  return {std::move(fields), std::move(file), std::move(rewritten)};
}

bool is_same_file(const nix::NarInfo& a, const nix::NarInfo& b) {
  if (a.compression != b.compression) return false;
  if (a.compression == uncompressed) return a.info.nar_hash == b.info.nar_hash;
  return a.file_hash && a.file_hash == b.file_hash;
}

std::optional<nix::Sha256> expected_hash(const nix::NarInfo& narinfo) {
  if (narinfo.file_hash) return narinfo.file_hash;
  if (narinfo.compression == uncompressed) return narinfo.info.nar_hash;
  return std::nullopt;
}

std::optional<std::uint64_t> expected_size(const nix::NarInfo& narinfo) {
  if (narinfo.file_size) return narinfo.file_size;
  if (narinfo.compression == uncompressed) return narinfo.info.nar_size;
  return std::nullopt;
}

std::string upstream_id(std::string_view base_url) {
  return nix::sha256(base_url).base32().substr(0, id_length);
}

std::string parse_cache_info(std::string_view text) {
  constexpr std::string_view field = "StoreDir:";
  std::optional<std::string> store_dir;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.starts_with(field)) continue;
    line.remove_prefix(field.size());
    while (line.starts_with(' '))
      line.remove_prefix(1);
    if (store_dir) throw FormatError("it names two store directories");
    store_dir = line;
  }
  if (!store_dir || !store_dir->starts_with('/')) throw FormatError("it names no store directory");
  return *store_dir;
}

}  // namespace nixbuild::proxy
