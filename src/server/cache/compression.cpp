#include "server/cache/compression.hpp"

#include <fmt/format.h>
#include <zstd.h>

#include "common/base/error.hpp"

namespace nixbuild::cache {

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

void check_level(Compression compression, int level) {
  if (compression == Compression::none) return;
  const int lowest = compression == Compression::xz ? 0 : 1;
  const int highest = compression == Compression::xz ? 9 : ZSTD_maxCLevel();
  if (level < lowest || level > highest) {
    throw UsageError(fmt::format("compression level {}: {} has the levels {} to {}", level,
                                 name_of(compression), lowest, highest));
  }
}

}  // namespace nixbuild::cache
