// Nix's store database (<state>/db/db.sqlite), read while the Nix daemon writes it.
//
// Every answer is that of some moment between the call and its return: never stale, never torn. How
// an unprivileged reader gets that is explained in database_opening.hpp. Two limits, where no Nix
// writer is involved: a database that was replaced by another file is noticed within 0.1 s, and a
// row whose NAR hash was changed in place is found by its new hash within 10 s.
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

// Not thread-safe; each thread has its own, all made from one StoreAccess.
class StoreDatabase {
 public:
  // Opens nothing yet.
  explicit StoreDatabase(std::shared_ptr<StoreAccess> access);
  ~StoreDatabase();
  StoreDatabase(StoreDatabase&&) noexcept;
  StoreDatabase& operator=(StoreDatabase&&) noexcept;

  // Every query throws StoreUnavailable at once, without waiting: whoever asks decides how long to
  // try. The very first may throw it for some 20 ms, while the Nix daemon is asked to open the
  // database. A row that is not what Nix writes, which Nix cannot read either, is taken for none:
  // it is logged, and other rows are answered from.
  std::optional<nix::PathInfo> query_path_info(std::string_view hash_part);
  // A path that holds that NAR, by an index of our own (see RowIndex), which is made on first use:
  // until then, StoreUnavailable.
  std::optional<nix::StorePath> query_path_by_nar_hash(const nix::Sha256& nar_hash);
  // The paths `path` refers to, directly and not, and itself; sorted. Empty when it is not valid.
  std::vector<nix::StorePath> query_closure(const nix::StorePath& path);

  // `id` as in Realisation::id.
  std::optional<Realisation> query_realisation(std::string_view id);
  std::optional<BuildTrace> query_build_trace(const nix::StorePath& derivation,
                                              std::string_view output_name);

  // A number, never 0, that changes whenever anything in the database may have changed, the same
  // for all objects made from one StoreAccess, and cheap enough to ask before every answer from
  // memory. For an answer to be kept, take it before the query. Throws StoreUnavailable.
  std::uint64_t generation();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nixbuild::store
