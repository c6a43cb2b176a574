// The Nix store used by builds, read without starting a program: given by NIX_STORE_DIR and
// NIX_STATE_DIR, by default /nix.
//
// Paths come from evaluated repositories: anything that is not a path of this store is treated as
// absent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/builder/derivation_file.hpp"
#include "server/store/store_reader.hpp"

namespace nixbuild::builder {

class LocalStore {
 public:
  LocalStore();

  // Whether `path` has the form of a path of this store, or of a derivation in it.
  bool is_store_path(std::string_view path) const;
  bool is_derivation(std::string_view path) const;
  // The NAR size of a valid path; nothing if it is not valid, or the store is unavailable.
  std::optional<std::uint64_t> nar_size(const std::string& path);
  // Reads a derivation file; nothing if it is missing or malformed.
  std::optional<Derivation> derivation(std::string_view path) const;
  // Whether all outputs of a derivation are valid; false if the store is unavailable.
  bool is_built(const std::string& derivation);

  const store::StoreLayout& layout() const noexcept { return reader_.layout(); }

 private:
  store::StoreReader reader_;
};

}  // namespace nixbuild::builder
