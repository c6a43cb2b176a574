// Nix's store database (<state>/db/db.sqlite), read while the Nix daemon writes it.
//
// Every answer is that of some moment between the call and its return: never stale, never torn. How
// an unprivileged reader gets that is explained in store_database.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/error.hpp"
#include "common/nix/hash.hpp"
#include "common/nix/path_info.hpp"
#include "server/store/store_layout.hpp"

namespace nixbuild::store {

// The database cannot be read at this moment: locked, absent, of an unknown schema. The message
// says which. Trying again later may succeed.
class StoreUnavailable : public Error {
 public:
  using Error::Error;
};

struct Realisation {
  std::string output_path_base_name;
  std::vector<std::string> signatures;
};

// Not thread-safe; each thread has its own, all made from one SharedStoreAccess.
class StoreDatabase {
 public:
  explicit StoreDatabase(const StoreLayout& layout);
  ~StoreDatabase();
  StoreDatabase(StoreDatabase&&) noexcept;
  StoreDatabase& operator=(StoreDatabase&&) noexcept;

  // Every query throws StoreUnavailable at once, without waiting: whoever asks decides how long to
  // try. Rows that are not what Nix writes throw FormatError.
  std::optional<nix::PathInfo> query_path_info(std::string_view hash_part);
  // The path that holds that NAR, by an index of our own (ValidPaths has none on the hash), which
  // is built on first use and kept up to date.
  std::optional<nix::StorePath> query_path_by_nar_hash(const nix::Sha256& nar_hash);
  // The paths `path` refers to, directly and not, and itself.
  std::vector<nix::StorePath> query_closure(const nix::StorePath& path);

  // A number that changes whenever anything in the database may have changed, cheap enough to ask
  // before every answer from memory. Throws StoreUnavailable.
  std::uint64_t generation();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nixbuild::store
