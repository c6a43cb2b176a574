// The exception for a store database that cannot be read at the moment.
#pragma once

#include <filesystem>

#include "common/base/error.hpp"
#include "server/sqlite/sqlite.hpp"

namespace nixbuild::store {

// The database is locked, absent, or has an unknown schema; the message says which. Retrying later
// may succeed.
class StoreUnavailable : public Error {
 public:
  using Error::Error;
};

// What `failure` means for readers of `database`, and what to do about it.
StoreUnavailable unavailable(const sqlite::SqliteError& failure,
                             const std::filesystem::path& database);

}  // namespace nixbuild::store
