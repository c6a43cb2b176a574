// Reads the token that the build API requires of its clients from a file.
#pragma once

#include <filesystem>
#include <string>

namespace nixbuild::keys {

// The file's first line. Throws UsageError if the file is missing, accessible to other users, or
// its first line is not one word. The group may read it: systemd's credentials have group bits.
std::string read_token_file(const std::filesystem::path& file);

}  // namespace nixbuild::keys
