#include "server/cache/responses.hpp"

#include <fmt/format.h>

#include <utility>

namespace nixbuild::cache {
namespace {

// A NAR's URL names its content, so a response never changes. Each one advertises ranges: Nix
// resumes an interrupted download only then.
http::Response nar_response(http::Body body) {
  http::Response response;
  response.content_type = "application/x-nix-nar";
  response.cache_control = "public, max-age=31536000, immutable";
  response.accept_ranges = true;
  response.empty_range_at_end = true;
  response.body = std::move(body);
  return response;
}

}  // namespace

http::Response nar_file_response(narcache::NarCache::OpenFile file) {
  http::Response response = nar_response(http::FileBody{std::move(file.file), file.info.size});
  if (file.info.hash != nix::Sha256{}) {
    response.etag = fmt::format("\"{}\"", file.info.hash.base32());
  }
  return response;
}

http::Response nar_stream_response(
    std::optional<std::uint64_t> size,
    std::function<boost::asio::awaitable<void>(http::BodyWriter&, std::uint64_t, std::uint64_t)>
        produce,
    std::string etag) {
  http::Response response = nar_response(http::StreamBody{size, std::move(produce)});
  response.etag = std::move(etag);
  return response;
}

http::Response not_found(std::string text) {
  http::Response response = http::text_response(404, std::move(text));
  response.cache_control = not_kept;
  return response;
}

http::Response store_unavailable() {
  return http::text_response(503, "the store's database cannot be read at the moment\n");
}

}  // namespace nixbuild::cache
