// The Nix store that builds go to, as far as it can be asked without starting a program: where
// NIX_STORE_DIR and NIX_STATE_DIR say it is, else in /nix.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "server/store/store_reader.hpp"

namespace nixbuild::builder {

class LocalStore {
 public:
  LocalStore();

  // Size as a NAR of a valid path; nothing when it is not valid, or cannot be found out now.
  std::optional<std::uint64_t> nar_size(const std::string& path);
  // Whether all outputs of a derivation are valid; no when it cannot be found out.
  bool is_built(const std::string& derivation);

  const store::StoreLayout& layout() const noexcept { return reader_.layout(); }

 private:
  store::StoreReader reader_;
};

}  // namespace nixbuild::builder
