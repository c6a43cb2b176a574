#include "common/nix/path_info.hpp"

#include <fmt/format.h>

#include "common/nix/base32.hpp"

namespace nixbuild::nix {

std::string fingerprint(const StoreDir& store_dir, const PathInfo& info) {
  const fmt::format_int nar_size(info.nar_size);
  const std::size_t dir_size = store_dir.path().size() + 1;
  std::size_t size = 2 + dir_size + info.path.base_name().size() + 1 + 7 +
                     base32_length(Sha256::size) + 1 + nar_size.size() + 1;
  for (const StorePath& reference : info.references)
    size += dir_size + reference.base_name().size() + 1;

  std::string text;
  text.reserve(size);
  const auto append_path = [&](const StorePath& path) {
    text += store_dir.path();
    text += '/';
    text += path.base_name();
  };
  text += "1;";
  append_path(info.path);
  text += ";sha256:";
  append_base32(text, info.nar_hash.bytes);
  text += ';';
  text.append(nar_size.data(), nar_size.size());
  text += ';';
  bool first = true;
  for (const StorePath& reference : info.references) {
    if (!first) text += ',';
    first = false;
    append_path(reference);
  }
  return text;
}

}  // namespace nixbuild::nix
