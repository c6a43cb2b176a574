// GET /builds/ID/record: serve-cache makes and signs it, asked on its control socket; it alone has
// the keys.
#pragma once

#include <cstdint>
#include <filesystem>

#include "server/http/response.hpp"

namespace nixbuild::api {

// Blocks for at most 10 s; thread-safe. 404 if the build has no record, 503 if serve-cache does not
// sign one, with the reason.
http::Response signed_record(const std::filesystem::path& control_socket, std::int64_t id);

}  // namespace nixbuild::api
