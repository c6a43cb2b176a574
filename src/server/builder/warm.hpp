// Tells serve-cache what was built, so that it compresses it before the first client asks.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace nixbuild::builder {

// Posts store paths to /warm on the control socket, a line each. False when nobody listens there,
// which is no error. Throws Error when serve-cache does not take them.
bool warm_cache(const std::filesystem::path& control_socket,
                const std::vector<std::string>& store_paths);

}  // namespace nixbuild::builder
