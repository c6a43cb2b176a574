// GET /builds/ID/record: requests the record on serve-cache's control socket, because only
// serve-cache has the keys to sign it.
#pragma once

#include <cstdint>
#include <filesystem>

#include "server/http/response.hpp"

namespace nixbuild::api {

// Blocks for at most 10 s; thread-safe. 404 if the build has no record, 503 with the reason if
// serve-cache does not sign one.
http::Response signed_record(const std::filesystem::path& control_socket, std::int64_t id);

}  // namespace nixbuild::api
