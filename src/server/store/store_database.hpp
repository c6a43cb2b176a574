// Nix's store database (<state>/db/db.sqlite), read while the Nix daemon writes to it.
//
// Every answer is correct for some moment between the call and its return: never stale, never
// inconsistent. See database_opening.hpp for how this works for an unprivileged reader. There are
// two limits for changes not made by Nix: a database replaced by another file is noticed within 0.1
// s, and a row whose NAR hash was changed in place is found by its new hash within 10 s.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "common/nix/hash.hpp"
#include "common/nix/path_info.hpp"
#include "common/nix/store_path.hpp"
#include "server/store/realisation.hpp"
#include "server/store/store_access.hpp"
#include "server/store/store_unavailable.hpp"

namespace nixbuild::store {

// Not thread-safe; make one for each thread, all from one StoreAccess.
class StoreDatabase {
 public:
  // Opens nothing yet.
  explicit StoreDatabase(std::shared_ptr<StoreAccess> access);
  ~StoreDatabase();
  StoreDatabase(StoreDatabase&&) noexcept;
  StoreDatabase& operator=(StoreDatabase&&) noexcept;

  // Queries never wait: they throw StoreUnavailable immediately, and the caller decides how long to
  // retry. The first one may throw it for about 20 ms, while the Nix daemon is asked to open the
  // database. A malformed row, which Nix cannot read either, is treated as absent: it is logged,
  // and other rows remain usable. For the first two, so is a path that StoreAccess hides.
  std::optional<nix::PathInfo> query_path_info(std::string_view hash_part);
  // A path that has that NAR, found by our own index (see RowIndex). The first call starts to build
  // the index; until it is complete, throws StoreUnavailable.
  std::optional<nix::StorePath> query_path_by_nar_hash(const nix::Sha256& nar_hash);
  // The closure of `path`: all direct and indirect references, and itself; sorted. Empty if it is
  // not valid.
  std::vector<nix::StorePath> query_closure(const nix::StorePath& path);

  // `id` has the form of Realisation::id.
  std::optional<Realisation> query_realisation(std::string_view id);
  std::optional<BuildTrace> query_build_trace(const nix::StorePath& derivation,
                                              std::string_view output_name);

  // A number, never 0, that changes whenever anything in the database may have changed. It is the
  // same for all objects made from one StoreAccess, and cheap enough to check before every answer
  // from memory. To cache an answer, take the number before the query. Throws StoreUnavailable.
  std::uint64_t generation();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nixbuild::store
