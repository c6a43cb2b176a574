// The limit on open descriptors, and how many connections it allows.
#pragma once

#include <cstddef>

namespace nixbuild::http {

// Raises this process's soft limit, up to the hard one, to what this many connections need: for
// each a socket and mostly a file, and a reserve for everything else. Returns how many fit.
std::size_t make_room_for_connections(std::size_t connections) noexcept;

}  // namespace nixbuild::http
