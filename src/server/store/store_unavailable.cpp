#include "server/store/store_unavailable.hpp"

#include <fmt/format.h>

#include <unistd.h>
#include <cerrno>
#include <string_view>

namespace nixbuild::store {

namespace {

std::string_view reason(const sqlite::SqliteError& failure, const std::filesystem::path& database) {
  switch (failure.primary_code()) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return "another process has it locked; it is tried again";
    case SQLITE_PROTOCOL:
      return "its writers left no moment to read; it is tried again";
    case SQLITE_CANTOPEN:
      if (::access(database.c_str(), F_OK) != 0) {
        return errno == EACCES ? "this user may not enter its directory; make it accessible"
                               : "there is no such file; has Nix made this store yet, and is "
                                 "nix_state_dir right?";
      }
      return ::access(database.c_str(), R_OK) == 0
                 ? "its -wal and -shm files cannot be opened; start the Nix daemon, or run a nix "
                   "command as the store's owner"
                 : "this user may not read it; make it readable";
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return "this user may not read it; make it readable";
    case SQLITE_READONLY:
      return "it needs a recovery that only a process with write access can do; start the Nix "
             "daemon, or run a nix command as the store's owner";
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      return "it is damaged or no SQLite database; run `nix-store --verify` or restore it";
    case SQLITE_IOERR:
    case SQLITE_FULL:
      return "the disk reported an error";
    case SQLITE_NOMEM:
      return "there is not enough memory";
    case SQLITE_ERROR:
    case SQLITE_SCHEMA:
      return "it lacks a table or column that Nix's schema 7 to 10 has";
    default:
      return "SQLite failed";
  }
}

}  // namespace

StoreUnavailable unavailable(const sqlite::SqliteError& failure,
                             const std::filesystem::path& database) {
  return StoreUnavailable(fmt::format("reading the store database {}: {} ({}, code {})",
                                      database.native(), reason(failure, database),
                                      failure.detail(), failure.code()));
}

}  // namespace nixbuild::store
