// The forms in which NARs are sent, and what makes their bytes.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace nixbuild::compress {

enum class Compression : std::uint8_t { none, xz, zstd };

// The end of a NAR's URL: "nar", "nar.zst", "nar.xz".
std::string_view nar_suffix(Compression compression) noexcept;

// As narinfos name it: "none", "zstd", "xz".
std::string_view name_of(Compression compression) noexcept;

// 3 for zstd, 6 for xz, as the commands of those names have it. 0 for none.
int default_level(Compression compression) noexcept;

// All that decides the bytes of a compressed NAR, beside the NAR itself.
struct Recipe {
  Compression compression = Compression::none;
  int level = 0;
  std::uint32_t library = 0;  // version number of libzstd or liblzma; 0: unknown

  friend auto operator<=>(const Recipe&, const Recipe&) = default;
};

// The recipe of this process: `level` of the library that it runs with.
Recipe recipe_of(Compression compression, int level) noexcept;

// A recipe in a URL or file name: "z3v10504" is zstd level 3 by libzstd 1.5.4, "x6v50040012" xz
// level 6. The library must be known and the compression not none.
std::string tag_of(const Recipe& recipe);
std::optional<Recipe> parse_tag(std::string_view tag);

}  // namespace nixbuild::compress
