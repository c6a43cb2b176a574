// What is thrown where the store's database cannot be read at this moment.
#pragma once

#include <filesystem>

#include "common/base/error.hpp"
#include "server/sqlite/sqlite.hpp"

namespace nixbuild::store {

// The database is locked, absent, or of an unknown schema. The message says which. Trying again
// later may succeed.
class StoreUnavailable : public Error {
 public:
  using Error::Error;
};

// What `failure` means for whoever reads `database`, and what to do about it.
StoreUnavailable unavailable(const sqlite::SqliteError& failure,
                             const std::filesystem::path& database);

}  // namespace nixbuild::store
