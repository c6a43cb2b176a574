#include "server/cache/nar_url.hpp"

#include <fmt/format.h>

#include "common/nix/base32.hpp"
#include "common/nix/store_path.hpp"
#include "server/narcache/nar_cache.hpp"

namespace nixbuild::cache {
namespace {

constexpr std::size_t nar_hash_length = nix::base32_length(nix::Sha256::size);

std::optional<nix::Sha256> parse_nar_hash(std::string_view text) {
  if (text.size() != nar_hash_length) return std::nullopt;
  return nix::Sha256::parse(fmt::format("sha256:{}", text));
}

}  // namespace

std::optional<NarUrl> parse_nar_url(std::string_view name, std::string_view hash_parameter) {
  NarUrl url;
  const std::size_t dot = name.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view suffix = name.substr(dot + 1);
  bool known = false;
  for (const compress::Compression compression :
       {compress::Compression::none, compress::Compression::xz, compress::Compression::zstd}) {
    if (suffix != compress::nar_suffix(compression)) continue;
    url.compression = compression;
    known = true;
  }
  if (!known) return std::nullopt;

  std::string_view stem = name.substr(0, dot);
  if (stem.size() == nix::hash_part_length ||
      (stem.size() > nix::hash_part_length && stem[nix::hash_part_length] == '-')) {
    url.hash_part = stem.substr(0, nix::hash_part_length);
    if (!nix::is_hash_part(url.hash_part)) return std::nullopt;
    if (stem.size() == nix::hash_part_length) return url;
    stem.remove_prefix(nix::hash_part_length + 1);
  } else if (!hash_parameter.empty()) {
    if (!nix::is_hash_part(hash_parameter)) return std::nullopt;
    url.hash_part = hash_parameter;
  }
  if (stem.size() > nar_hash_length && stem[nar_hash_length] == '-') {
    url.recipe = compress::parse_tag(stem.substr(nar_hash_length + 1));
    if (!url.recipe || url.recipe->compression != url.compression) return std::nullopt;
    stem = stem.substr(0, nar_hash_length);
  }
  url.nar_hash = parse_nar_hash(stem);
  if (!url.nar_hash) return std::nullopt;
  return url;
}

std::string render_nar_url(const nix::Sha256& nar_hash, const compress::Recipe& recipe,
                           std::string_view hash_part) {
  const bool plain = recipe.compression == compress::Compression::none;
  return fmt::format("nar/{}{}.{}?hash={}", nar_hash.base32(),
                     plain ? "" : '-' + compress::tag_of(recipe),
                     compress::nar_suffix(recipe.compression), hash_part);
}

}  // namespace nixbuild::cache
