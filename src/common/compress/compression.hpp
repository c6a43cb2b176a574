// The forms in which NARs are sent, and their names.
#pragma once

#include <cstdint>
#include <string_view>

namespace nixbuild::compress {

enum class Compression : std::uint8_t { none, xz, zstd };

// What a NAR's URL ends in: "nar", "nar.zst", "nar.xz".
std::string_view nar_suffix(Compression compression) noexcept;

// As narinfos name it: "none", "zstd", "xz".
std::string_view name_of(Compression compression) noexcept;

// 3 for zstd, 6 for xz: what the commands of those names take. 0 for none.
int default_level(Compression compression) noexcept;

}  // namespace nixbuild::compress
