#include "server/cache/warming.hpp"

#include <fmt/format.h>

#include <functional>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "server/async/offload.hpp"
#include "server/cache/responses.hpp"

namespace nixbuild::cache {
namespace {

namespace asio = boost::asio;

}  // namespace

http::Reply Warming::handle(const http::Request& request) {
  std::vector<nix::StorePath> roots;
  std::string_view rest = request.body;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    if (line.empty()) continue;
    auto path = store_.layout().store_dir.parse(line);
    if (!path) {
      return http::text_response(
          400, fmt::format("'{}' is no path of {}\n", line, store_.layout().store_dir.path()));
    }
    roots.push_back(std::move(*path));
  }
  return answer(std::move(roots));
}

asio::awaitable<http::Response> Warming::answer(std::vector<nix::StorePath> roots) {
  std::function<std::optional<Counts>()> work =
      [this, roots = std::move(roots)]() -> std::optional<Counts> {
    try {
      return warm(roots);
    } catch (const store::StoreUnavailable&) {
      return std::nullopt;
    }
  };
  asio::awaitable<std::optional<Counts>> warming =
      async::offload<std::optional<Counts>>(workers_, std::move(work));
  const std::optional<Counts> counts = co_await std::move(warming);
  if (!counts) co_return store_unavailable();
  co_return http::json_response(
      202, fmt::format("{{\"paths\":{},\"queued\":{}}}\n", counts->paths, counts->queued));
}

std::vector<nix::PathInfo> Warming::closure_of(const std::vector<nix::StorePath>& roots,
                                               store::StoreDatabase& database) const {
  std::set<nix::StorePath> paths;
  for (const nix::StorePath& root : roots) {
    for (nix::StorePath& path : database.query_closure(root))
      paths.insert(std::move(path));
  }
  std::vector<nix::PathInfo> closure;
  for (const nix::StorePath& path : paths) {
    if (auto info = database.query_path_info(path.hash_part())) closure.push_back(std::move(*info));
  }
  return closure;
}

// On a worker thread, which may block.
Warming::Counts Warming::warm(const std::vector<nix::StorePath>& roots) {
  const auto began = narcache::NarCache::Clock::now();
  const auto query = [&](store::StoreDatabase& database) { return closure_of(roots, database); };
  const std::vector<nix::PathInfo> closure = store_.now_or_wait(query);
  Counts counts;
  counts.paths = closure.size();
  for (const nix::PathInfo& info : closure) {
    if (advertised_ == compress::Compression::none || narinfos_.skipped(info)) continue;
    if (compressed_.warm(info, advertised_, began)) ++counts.queued;
  }
  requests_ += 1;
  paths_ += counts.paths;
  queued_ += counts.queued;
  return counts;
}

Warming::Statistics Warming::statistics() const {
  return {requests_, paths_, queued_};
}

}  // namespace nixbuild::cache
