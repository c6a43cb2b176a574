// Reads and writes small files as a whole, and files in directories that others write to.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/unique_fd.hpp"

namespace nixbuild {

// The content of `path`, or nothing if it does not exist. Throws SystemError if it cannot be read,
// Error if it is longer than `limit` bytes.
std::optional<std::string> read_file(const std::filesystem::path& path,
                                     std::size_t limit = std::size_t{64} << 20);

// The functions whose names end in `_beneath` are for directories that others write to: a clone,
// the logs of a build. `path` is relative to `directory`. No symbolic link is followed in any part
// of `path`, and none leads out of `directory`. `directory` itself is trusted.

// Opens a regular file for reading. Never blocks on a FIFO or a device. Returns nothing if the file
// does not exist. Throws SystemError if it cannot be opened, and Error if it is not a regular file
// or if a part of `path` is a symbolic link or "..".
std::optional<UniqueFd> open_beneath(const std::filesystem::path& directory,
                                     const std::filesystem::path& path);

// The content of such a file. Throws as `open_beneath` does, and Error if it is longer than `limit`
// bytes.
std::optional<std::string> read_file_beneath(const std::filesystem::path& directory,
                                             const std::filesystem::path& path, std::size_t limit);

// Whether `path` names anything: a file, a directory, or a symbolic link to whatever. False if a
// part of `path` before the last is not a directory.
bool exists_beneath(const std::filesystem::path& directory, const std::filesystem::path& path);

// Whether `path` is `directory` or below it; compares only the names.
bool is_at_or_below(const std::filesystem::path& path, const std::filesystem::path& directory);

enum class IfExists { replace, fail };

// Writes `content` to a temporary file beside `path`, flushes it to disk and renames it into place:
// a reader sees either the old or the new content, also after a power failure. With IfExists::fail,
// throws if the file exists. Throws SystemError.
void write_file_atomic(const std::filesystem::path& path, std::string_view content, mode_t mode,
                       IfExists if_exists = IfExists::replace);

// Flushes a directory, so that a rename inside it survives a power failure. Throws SystemError.
void sync_directory(const std::filesystem::path& path);

}  // namespace nixbuild
