#include "common/nix/store_path.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/error.hpp"
#include "common/nix/base32.hpp"

namespace nixbuild::nix {

namespace {

bool is_name_char(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' ||
         c == '-' || c == '.' || c == '_' || c == '?' || c == '=';
}

// Since 2.21, Nix refuses names whose part before the first dash is "." or "..". Earlier versions
// refused either every name that begins with a dot, or none.
bool is_name(std::string_view name) {
  if (name.empty() || name.size() > store_path_name_limit) return false;
  const std::string_view first_part = name.substr(0, name.find('-'));
  if (first_part == "." || first_part == "..") return false;
  return std::all_of(name.begin(), name.end(), is_name_char);
}

bool is_normal_absolute(std::string_view path) {
  if (!path.starts_with('/')) return false;
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::string_view part = path.substr(0, path.find('/'));
    if (part.empty() || part == "." || part == ".." || part.find('\0') != part.npos) return false;
    path.remove_prefix(part.size());
  }
  return true;
}

}  // namespace

bool is_hash_part(std::string_view text) noexcept {
  return text.size() == hash_part_length && std::all_of(text.begin(), text.end(), is_base32_char);
}

std::optional<StorePath> StorePath::parse(std::string_view base_name) {
  if (base_name.size() <= hash_part_length + 1 || base_name[hash_part_length] != '-' ||
      !is_hash_part(base_name.substr(0, hash_part_length)) ||
      !is_name(base_name.substr(hash_part_length + 1)))
    return std::nullopt;
  return StorePath(std::string(base_name));
}

StoreDir::StoreDir(std::string path) : path_(std::move(path)) {
  if (!is_normal_absolute(path_))
    throw UsageError(
        fmt::format("the store directory '{}' cannot be used: give an absolute path such as "
                    "/nix/store, without '.', '..' or empty parts and without a slash at its end",
                    path_));
}

std::string StoreDir::print(const StorePath& store_path) const {
  std::string text;
  text.reserve(path_.size() + 1 + store_path.base_name().size());
  text += path_;
  text += '/';
  text += store_path.base_name();
  return text;
}

std::optional<StorePath> StoreDir::parse(std::string_view full_path) const {
  if (!full_path.starts_with(path_)) return std::nullopt;
  full_path.remove_prefix(path_.size());
  if (!full_path.starts_with('/')) return std::nullopt;
  return StorePath::parse(full_path.substr(1));
}

}  // namespace nixbuild::nix
