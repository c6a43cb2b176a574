// The schema of the history's database, and its migrations.
#pragma once

#include <filesystem>

#include "server/sqlite/sqlite.hpp"

namespace nixbuild::history {

// Opens `file`, creates it if it is missing, and migrates an older schema. Throws HistoryError if
// it is not a history, or is from a newer program, without changing the file; SqliteError if it
// cannot be read or written.
sqlite::Connection open_history(const std::filesystem::path& file);

// Opens a history with the current schema for reading. Throws as above.
sqlite::Connection open_history_to_read(const std::filesystem::path& file);

}  // namespace nixbuild::history
