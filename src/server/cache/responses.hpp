// Responses shared by several handlers.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "server/http/response.hpp"
#include "server/narcache/nar_cache.hpp"

namespace nixbuild::cache {

// A file of the NAR cache; its hash may be unknown (all zeros).
http::Response nar_file_response(narcache::NarCache::OpenFile file);

// A NAR that is produced while it is sent, of `size` bytes if known.
http::Response nar_stream_response(
    std::optional<std::uint64_t> size,
    std::function<boost::asio::awaitable<void>(http::BodyWriter&, std::uint64_t offset,
                                               std::uint64_t length)>
        produce,
    std::string etag = {});

// Cache-Control for absent paths: they may be built within seconds, and proxies may otherwise cache
// a 404 for any time (RFC 9110, 15.1).
constexpr std::string_view not_kept = "no-store";

// 404.
http::Response not_found(std::string text);

// 503, without Retry-After: Nix would wait for that long, but it already retries by itself.
http::Response store_unavailable();

}  // namespace nixbuild::cache
