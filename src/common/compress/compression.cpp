#include "common/compress/compression.hpp"

namespace nixbuild::compress {

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

}  // namespace nixbuild::compress
