// Switches to the user that builds run as.
#pragma once

#include <filesystem>
#include <string>

namespace nixbuild::builder {

// If run by root, switches permanently to the owner of the state directory, and sets HOME and USER
// for that user. So a manual build leaves no files that the service cannot write. Throws UsageError
// if this user may not write there, SystemError.
void become_owner_of(const std::filesystem::path& state_dir);

// The user who runs this process or, with sudo, called it. Empty if unknown.
std::string invoking_user();

}  // namespace nixbuild::builder
