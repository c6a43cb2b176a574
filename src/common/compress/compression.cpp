#include "common/compress/compression.hpp"

#include <fmt/core.h>
#include <lzma.h>
#include <zstd.h>

#include <charconv>

namespace nixbuild::compress {
namespace {

// A decimal number without leading zeros, as tag_of() writes it.
template <typename Number>
bool parse_number(std::string_view text, Number& number) {
  if (text.empty() || (text.size() > 1 && text.front() == '0') || text.front() == '-') return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace

std::string_view nar_suffix(Compression compression) noexcept {
  switch (compression) {
    case Compression::zstd:
      return "nar.zst";
    case Compression::xz:
      return "nar.xz";
    case Compression::none:
      break;
  }
  return "nar";
}

std::string_view name_of(Compression compression) noexcept {
  switch (compression) {
    case Compression::zstd:
      return "zstd";
    case Compression::xz:
      return "xz";
    case Compression::none:
      break;
  }
  return "none";
}

int default_level(Compression compression) noexcept {
  switch (compression) {
    case Compression::zstd:
      return 3;
    case Compression::xz:
      return 6;
    case Compression::none:
      break;
  }
  return 0;
}

Recipe recipe_of(Compression compression, int level) noexcept {
  switch (compression) {
    case Compression::zstd:
      return {compression, level, ZSTD_versionNumber()};
    case Compression::xz:
      return {compression, level, lzma_version_number()};
    case Compression::none:
      break;
  }
  return {};
}

std::string tag_of(const Recipe& recipe) {
  const char letter = recipe.compression == Compression::xz ? 'x' : 'z';
  return fmt::format("{}{}v{}", letter, recipe.level, recipe.library);
}

std::optional<Recipe> parse_tag(std::string_view tag) {
  if (tag.empty() || (tag.front() != 'z' && tag.front() != 'x')) return std::nullopt;
  Recipe recipe;
  recipe.compression = tag.front() == 'x' ? Compression::xz : Compression::zstd;
  const std::size_t v = tag.find('v');
  if (v == std::string_view::npos) return std::nullopt;
  if (!parse_number(tag.substr(1, v - 1), recipe.level) ||
      !parse_number(tag.substr(v + 1), recipe.library) || recipe.library == 0) {
    return std::nullopt;
  }
  return recipe;
}

}  // namespace nixbuild::compress
