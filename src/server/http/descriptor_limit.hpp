// The system's limit of open descriptors, and how many connections it has room for.
#pragma once

#include <cstddef>

namespace nixbuild::http {

// Raises this process's soft limit, as far as the hard one allows, to what so many connections
// need: a socket each, mostly a file, and some for all else. Returns how many of them there is room
// for.
std::size_t make_room_for_connections(std::size_t connections) noexcept;

}  // namespace nixbuild::http
