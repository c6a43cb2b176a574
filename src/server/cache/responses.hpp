// Answers that several handlers give.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "server/http/response.hpp"
#include "server/narcache/nar_cache.hpp"

namespace nixbuild::cache {

// A file of the NAR cache; its hash may be unknown, as zeros.
http::Response nar_file_response(narcache::NarCache::OpenFile file);

// A NAR that is made while it is sent, of `size` bytes where that is known.
http::Response nar_stream_response(
    std::optional<std::uint64_t> size,
    std::function<boost::asio::awaitable<void>(http::BodyWriter&, std::uint64_t offset,
                                               std::uint64_t length)>
        produce,
    std::string etag = {});

// The Cache-Control of "absent": what is absent now may be built within seconds, and proxies would
// otherwise keep a 404 for as long as they please (RFC 9110, 15.1).
constexpr std::string_view not_kept = "no-store";

// 404.
http::Response not_found(std::string text);

// 503, without Retry-After: Nix would wait as long as that says, and it tries again by itself.
http::Response store_unavailable();

}  // namespace nixbuild::cache
