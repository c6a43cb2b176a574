// Reports built paths to serve-cache, so that it compresses them before the first client asks.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace nixbuild::builder {

// Posts store paths to /warm on the control socket, one per line. Returns false if no process is
// listening there, which is not an error. Throws Error if serve-cache rejects them.
bool warm_cache(const std::filesystem::path& control_socket,
                const std::vector<std::string>& store_paths);

}  // namespace nixbuild::builder
