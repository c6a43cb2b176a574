// Where the parts of a store are. The store directory is the prefix of store paths; the files may
// be elsewhere, if the store is below another root (chroot stores, `nix copy --to /guest`).
#pragma once

#include <filesystem>
#include <string>

#include "common/nix/store_path.hpp"

namespace nixbuild::store {

struct StoreLayout {
  nix::StoreDir store_dir;                               // "/nix/store"
  std::filesystem::path real_store_dir = "/nix/store";   // where its files are
  std::filesystem::path nix_state_dir = "/nix/var/nix";  // db/db.sqlite, daemon-socket/socket
  std::filesystem::path nix_log_dir = "/nix/var/log/nix";

  std::filesystem::path real_path(const nix::StorePath& path) const {
    return real_store_dir / path.base_name();
  }
};

}  // namespace nixbuild::store
