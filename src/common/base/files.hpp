// Small files, read and written whole.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace nixbuild {

// The content of `path`, or nothing when it does not exist. Throws SystemError when it cannot be
// read, Error when it is longer than `limit` bytes.
std::optional<std::string> read_file(const std::filesystem::path& path,
                                     std::size_t limit = std::size_t{64} << 20);

enum class IfExists { replace, fail };

// Writes `content` to a temporary file beside `path`, flushes it to the disk and renames it into
// place: a reader sees the old content or the new, also after a power cut. With IfExists::fail an
// existing file is left alone and the call throws. Throws SystemError.
void write_file_atomic(const std::filesystem::path& path, std::string_view content, mode_t mode,
                       IfExists if_exists = IfExists::replace);

// Flushes a directory, so that a rename inside it survives a power cut. Throws SystemError.
void sync_directory(const std::filesystem::path& path);

}  // namespace nixbuild
