// Store paths: <store directory>/<hash part>-<name>.
// Source: the Nix manual, "Store path"; names follow the rules of Nix's own parser.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace nixbuild::nix {

constexpr std::size_t hash_part_length = 32;
constexpr std::size_t store_path_name_limit = 211;

// Whether `text` is 32 characters of Nix's base-32.
bool is_hash_part(std::string_view text) noexcept;

// A store path without its directory, always valid.
class StorePath {
 public:
  // From "<hash part>-<name>". Nothing if it does not have that form.
  static std::optional<StorePath> parse(std::string_view base_name);

  const std::string& base_name() const noexcept { return base_name_; }
  std::string_view hash_part() const noexcept {
    return std::string_view(base_name_).substr(0, hash_part_length);
  }
  std::string_view name() const noexcept {
    return std::string_view(base_name_).substr(hash_part_length + 1);
  }
  bool is_derivation() const noexcept { return name().ends_with(".drv"); }

  friend bool operator==(const StorePath&, const StorePath&) = default;
  friend auto operator<=>(const StorePath&, const StorePath&) = default;

 private:
  explicit StorePath(std::string base_name) : base_name_(std::move(base_name)) {}
  std::string base_name_;
};

// The directory in front of every path of a store, usually "/nix/store".
class StoreDir {
 public:
  // Throws UsageError if `path` is not absolute and normalised (no empty, "." or ".." part, no
  // trailing slash).
  explicit StoreDir(std::string path = "/nix/store");

  const std::string& path() const noexcept { return path_; }
  std::string print(const StorePath& store_path) const;
  // From "<this directory>/<hash part>-<name>". Nothing if `text` has another form, or continues
  // below the path.
  std::optional<StorePath> parse(std::string_view full_path) const;

  friend bool operator==(const StoreDir&, const StoreDir&) = default;

 private:
  std::string path_;
};

}  // namespace nixbuild::nix
