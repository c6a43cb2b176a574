// The formats in which NARs are sent, and what determines their bytes.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace nixbuild::compress {

enum class Compression : std::uint8_t { none, xz, zstd };

// The suffix of a NAR's URL: "nar", "nar.zst", "nar.xz".
std::string_view nar_suffix(Compression compression) noexcept;

// As narinfos name it: "none", "zstd", "xz".
std::string_view name_of(Compression compression) noexcept;

// 3 for zstd, 6 for xz, like the commands of those names. 0 for none.
int default_level(Compression compression) noexcept;

// Everything that determines the bytes of a compressed NAR, besides the NAR itself.
struct Recipe {
  Compression compression = Compression::none;
  int level = 0;
  std::uint32_t library = 0;  // version number of libzstd or liblzma; 0: unknown

  friend auto operator<=>(const Recipe&, const Recipe&) = default;
};

// The recipe of this process, with `level` and the version of the library in use.
Recipe recipe_of(Compression compression, int level) noexcept;

// A recipe in a URL or file name: "z3v10504" is zstd level 3 by libzstd 1.5.4, "x6v50040012" is xz
// level 6. The library version must be known, and the compression must not be none.
std::string tag_of(const Recipe& recipe);
std::optional<Recipe> parse_tag(std::string_view tag);

}  // namespace nixbuild::compress
