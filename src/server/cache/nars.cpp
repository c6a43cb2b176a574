#include "server/cache/nars.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "server/cache/responses.hpp"
#include "server/store/nar_source.hpp"

namespace nixbuild::cache {
namespace {

namespace asio = boost::asio;

http::Response no_such_nar() {
  return not_found("no such NAR\n");
}

// The path that a URL refers to. A path whose NAR has changed does not match, but any other path
// with the same NAR does, because it has the requested bytes.
std::optional<nix::PathInfo> find_path(store::StoreDatabase& database, const NarUrl& url) {
  if (!url.hash_part.empty()) {
    auto info = database.query_path_info(url.hash_part);
    if (info && (!url.nar_hash || info->nar_hash == *url.nar_hash)) return info;
  }
  if (!url.nar_hash) return std::nullopt;
  const auto path = database.query_path_by_nar_hash(*url.nar_hash);
  if (!path) return std::nullopt;
  auto info = database.query_path_info(path->hash_part());
  if (info && info->nar_hash == *url.nar_hash) return info;
  return std::nullopt;
}

// If this cannot be determined, reading the path will report the problem.
bool is_gone(const std::filesystem::path& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

// A NAR whose first piece has been read, which shows whether a NAR can be made at all while the
// response can still be 404.
struct BegunNar {
  explicit BegunNar(const std::filesystem::path& path) : source(path), piece(source.next()) {}
  store::NarSource source;
  store::NarSource::Piece piece;
};

// Sends bytes [offset, offset + length) of the NAR. `begun` is used for its beginning.
asio::awaitable<void> send_plain(http::BodyWriter& out, std::filesystem::path path,
                                 std::shared_ptr<BegunNar> begun,
                                 std::function<void(const std::exception&)> failed,
                                 std::uint64_t offset, std::uint64_t length) {
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  const bool from_the_beginning = offset == 0;
  store::NarSource source = from_the_beginning ? std::move(begun->source) : store::NarSource(path);
  if (!from_the_beginning) source.seek(offset);
  const auto next = [&] {
    try {
      return source.next();
    } catch (const std::exception& error) {
      failed(error);
      throw;
    }
  };
  store::NarSource::Piece piece = from_the_beginning ? begun->piece : next();
  for (;; piece = next()) {
    if (piece.bytes.empty() && piece.fd < 0 && !piece.last) {
      co_await asio::post(executor, asio::use_awaitable);
      continue;
    }
    const std::string_view bytes =
        piece.bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(length, SIZE_MAX)));
    if (!bytes.empty()) {
      asio::awaitable<void> writing = out.write(bytes);
      co_await std::move(writing);
      length -= bytes.size();
    }
    const std::uint64_t file_length = std::min(piece.length, length);
    if (piece.fd >= 0 && file_length > 0) {
      asio::awaitable<void> sending = out.send_file(piece.fd, piece.offset, file_length);
      co_await std::move(sending);
      length -= file_length;
    }
    if (length == 0 || piece.last) break;
  }
  // Resets the connection, so that no client mistakes a partial NAR for a complete one.
  if (length > 0) throw Error(fmt::format("{}: its NAR is shorter than registered", path.string()));
}

}  // namespace

http::Reply Nars::handle(const http::Request& request, std::string_view name) {
  std::string hash_parameter;
  if (!request.query.empty()) hash_parameter = request.query_parameter("hash").value_or("");
  std::optional<NarUrl> url = parse_nar_url(name, hash_parameter);
  if (!url) return no_such_nar();
  bool ranged = request.range.has_value();
  // Where ranges are refused, a malformed Range is refused too.
  if (!url->recipe && url->compression != compress::Compression::none) {
    ranged = (ranged || !request.header("range").empty()) && request.header("if-range").empty();
  }
  std::optional<nix::PathInfo> info;
  try {
    info = store_.now([&](store::StoreDatabase& database) { return find_path(database, *url); });
  } catch (const store::StoreUnavailable&) {
    return answer_later(std::move(*url), ranged);
  }
  if (!info) return no_such_nar();
  return answer(*info, *url, ranged);
}

asio::awaitable<http::Response> Nars::answer_later(NarUrl url, bool ranged) {
  std::optional<nix::PathInfo> info;
  try {
    const auto query = [&url](store::StoreDatabase& database) { return find_path(database, url); };
    asio::awaitable<std::optional<nix::PathInfo>> asking =
        store_.patiently<std::optional<nix::PathInfo>>(query);
    info = co_await std::move(asking);
  } catch (const store::StoreUnavailable&) {
    const NarinfoCache::Entry entry = narinfos_.remembered(url.hash_part);
    if (!entry || (url.nar_hash && entry->registered.nar_hash != *url.nar_hash)) {
      co_return store_unavailable();
    }
    info = entry->registered;
  }
  if (!info) co_return no_such_nar();
  http::Reply reply = answer(*info, url, ranged);
  if (auto* response = std::get_if<http::Response>(&reply.value())) co_return std::move(*response);
  asio::awaitable<http::Response> later =
      std::get<asio::awaitable<http::Response>>(std::move(reply.value()));
  http::Response response = co_await std::move(later);
  co_return response;
}

http::Reply Nars::answer(const nix::PathInfo& info, const NarUrl& url, bool ranged) {
  if (unservable_.contains(info.path) || is_gone(store_.layout().real_path(info.path))) {
    return no_such_nar();
  }
  if (url.compression == compress::Compression::none) return answer_plain(info);
  if (!url.recipe) {
    // A client that resumes has the beginning of an unknown file.
    if (ranged) return no_such_nar();
    return compressed_.respond_whole(info, url.compression);
  }
  if (auto response = compressed_.ready(info, *url.recipe)) return std::move(*response);
  return compressed_.respond(info, *url.recipe, ranged);
}

http::Reply Nars::answer_plain(const nix::PathInfo& info) {
  const std::filesystem::path path = store_.layout().real_path(info.path);
  const auto failed = [this, store_path = info.path](const std::exception& error) {
    if (!store::blames_path(error)) return;
    log::warn("cannot serve a NAR: {}", error.what());
    unservable_.add(store_path);
  };
  std::shared_ptr<BegunNar> begun;
  try {
    begun = std::make_shared<BegunNar>(path);
  } catch (const std::exception& error) {
    failed(error);
    if (!store::blames_path(error)) throw;
    return no_such_nar();
  }
  return nar_stream_response(
      info.nar_size,
      [path, begun, failed](http::BodyWriter& out, std::uint64_t offset, std::uint64_t length) {
        return send_plain(out, path, begun, failed, offset, length);
      },
      fmt::format("\"{}\"", info.nar_hash.base32()));
}

}  // namespace nixbuild::cache
