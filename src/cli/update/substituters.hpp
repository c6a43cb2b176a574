// Which substituters answer: one that does not holds up each path that Nix asks it for.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace nixbuild::cli {

// Whether it is a machine of one's own: http without TLS, as within a tailnet. Public caches are
// left for Nix to judge; one that is slow for a moment must not mean that everything is built here.
bool is_own_cache(std::string_view url);

// Those of the own caches that give no answer, of whatever kind, within `timeout`. They are asked
// at the same time.
std::vector<std::string> silent_caches(const std::vector<std::string>& substituters,
                                       std::chrono::milliseconds timeout);

}  // namespace nixbuild::cli
