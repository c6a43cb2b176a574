// Finds unresponsive substituters: they delay every path that Nix asks them for.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace nixbuild::cli {

// Whether it is one of the user's own machines: http without TLS, as within a tailnet. Public
// caches are left to Nix; if one is slow for a moment, that must not make this machine build
// everything.
bool is_own_cache(std::string_view url);

// The own caches that send no response of any kind within `timeout`. All are asked at the same
// time.
std::vector<std::string> silent_caches(const std::vector<std::string>& substituters,
                                       std::chrono::milliseconds timeout);

}  // namespace nixbuild::cli
