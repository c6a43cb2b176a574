// The form of the history's database, and how an older one becomes the present one.
#pragma once

#include <filesystem>

#include "server/sqlite/sqlite.hpp"

namespace nixbuild::history {

// Opens `file`, creates it if it is missing, and brings an older form up to date. Throws
// HistoryError for what is no history or one of a newer program, and leaves the file alone;
// SqliteError when it cannot be read or written.
sqlite::Connection open_history(const std::filesystem::path& file);

// Opens a history of the present form to read it. Throws as above.
sqlite::Connection open_history_to_read(const std::filesystem::path& file);

}  // namespace nixbuild::history
