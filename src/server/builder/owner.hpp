// Which user a build runs as.
#pragma once

#include <filesystem>
#include <string>

namespace nixbuild::builder {

// As root, becomes the owner of the state directory, for good; HOME and USER are then that user's.
// So a build run by hand leaves no file that the service could not write. Throws UsageError where
// this user may not write there, SystemError.
void become_owner_of(const std::filesystem::path& state_dir);

// The name of the user who runs this process; behind sudo, of the one who called it. Empty when
// unknown.
std::string invoking_user();

}  // namespace nixbuild::builder
