#include "server/cache/listings.hpp"

#include <cerrno>
#include <functional>
#include <optional>
#include <utility>

#include "common/base/error.hpp"
#include "common/nix/nar.hpp"
#include "server/async/offload.hpp"
#include "server/cache/responses.hpp"

namespace nixbuild::cache {
namespace {

namespace asio = boost::asio;

// Nothing if the path was deleted meanwhile.
std::optional<std::string> list(const std::filesystem::path& path) {
  try {
    return nix::render_nar_listing(nix::list_nar_of(path));
  } catch (const SystemError& error) {
    if (error.error_number() == ENOENT) return std::nullopt;
    throw;
  }
}

}  // namespace

http::Reply Listings::handle(std::string_view hash_part) {
  if (!nix::is_hash_part(hash_part)) return not_found("no such path\n");
  return answer(std::string(hash_part));
}

asio::awaitable<http::Response> Listings::answer(std::string hash_part) {
  std::optional<nix::PathInfo> info;
  try {
    asio::awaitable<std::optional<nix::PathInfo>> asking = store_.find_path(std::move(hash_part));
    info = co_await std::move(asking);
  } catch (const store::StoreUnavailable&) {
    co_return store_unavailable();
  }
  if (!info || narinfos_.skipped(*info)) co_return not_found("no such path\n");
  std::function<http::SharedText()> work = [this, info = *info] { return listing_of(info); };
  asio::awaitable<http::SharedText> listing =
      async::offload<http::SharedText>(workers_, std::move(work));
  http::SharedText text = co_await std::move(listing);
  if (!text) co_return not_found("no such path\n");
  http::Response response = http::json_response(200, {});
  response.body = std::move(text);
  response.cache_control = "public, max-age=300";
  co_return response;
}

http::SharedText Listings::listing_of(const nix::PathInfo& info) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = in_use_.find(info.nar_hash);
    if (found != in_use_.end()) {
      if (http::SharedText text = found->second.lock()) return text;
    }
    std::erase_if(in_use_, [](const auto& entry) { return entry.second.expired(); });
  }
  std::optional<std::string> listed = list(store_.layout().real_path(info.path));
  if (!listed) return nullptr;
  http::SharedText text = std::make_shared<const std::string>(std::move(*listed));
  const std::lock_guard lock(mutex_);
  in_use_[info.nar_hash] = text;
  return text;
}

}  // namespace nixbuild::cache
