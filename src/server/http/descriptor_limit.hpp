// The limit on open file descriptors, and how many connections it allows.
#pragma once

#include <cstddef>

namespace nixbuild::http {

// Raises this process's soft limit, up to the hard limit, for this many connections: each needs a
// socket and usually a file, and a reserve is kept for everything else. Returns how many
// connections fit.
std::size_t make_room_for_connections(std::size_t connections) noexcept;

}  // namespace nixbuild::http
