#include "server/cache/debug_info.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "server/async/offload.hpp"
#include "server/cache/responses.hpp"
#include "server/cache/store_files.hpp"

namespace nixbuild::cache {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;

// A SHA-1 (the default of linkers) or SHA-256 in lower-case hexadecimal; shorter ids exist.
constexpr std::size_t shortest_id = 8;
constexpr std::size_t longest_id = 64;
// Reading the store's directory takes about 50 ms for 100,000 paths.
constexpr std::chrono::seconds listing_lifetime{30};

bool is_build_id(std::string_view text) {
  return text.size() >= shortest_id && text.size() <= longest_id &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

http::Reply DebugInfo::handle_index(std::string_view name) {
  if (name.ends_with(".debug")) name.remove_suffix(6);
  if (!is_build_id(name)) return not_found("no such build id\n");
  return answer(std::string(name), Form::index);
}

http::Reply DebugInfo::handle_file(std::string_view build_id) {
  if (!is_build_id(build_id)) return not_found("no such build id\n");
  return answer(std::string(build_id), Form::file);
}

asio::awaitable<http::Response> DebugInfo::answer(std::string build_id, Form form) {
  std::function<std::vector<Found>()> work = [this, build_id] { return find(build_id); };
  asio::awaitable<std::vector<Found>> finding =
      async::offload<std::vector<Found>>(workers_, std::move(work));
  const std::vector<Found> found = co_await std::move(finding);
  for (const Found& candidate : found) {
    NarinfoCache::Entry entry;
    try {
      const auto query = [this, &candidate](store::StoreDatabase& database) {
        return narinfos_.look_up(database, candidate.path.hash_part());
      };
      asio::awaitable<NarinfoCache::Entry> asking = store_.patiently<NarinfoCache::Entry>(query);
      entry = co_await std::move(asking);
    } catch (const store::StoreUnavailable&) {
      co_return store_unavailable();
    }
    // A directory of that name may not be registered.
    if (!entry || entry->registered.path != candidate.path) continue;
    if (form == Form::index) {
      const nlohmann::json json = {{"archive", "../" + entry->narinfo.url},
                                   {"member", candidate.member}};
      http::Response response = http::json_response(200, json.dump());
      response.cache_control = "public, max-age=300";
      co_return response;
    }
    std::optional<StoreFile> file =
        open_below(store_.layout().real_path(candidate.path),
                   store_.layout().store_dir.print(candidate.path), candidate.member);
    if (!file || file->is_directory) continue;
    http::Response response;
    response.content_type = "application/octet-stream";
    response.accept_ranges = true;
    response.cache_control = "public, max-age=300";
    response.body =
        http::FileBody{std::make_shared<const UniqueFd>(std::move(file->fd)), file->size};
    co_return response;
  }
  co_return not_found("no such build id\n");
}

std::vector<DebugInfo::Found> DebugInfo::find(const std::string& build_id) {
  const std::string member =
      fmt::format("lib/debug/.build-id/{}/{}.debug", build_id.substr(0, 2), build_id.substr(2));
  std::vector<Found> found;
  for (const nix::StorePath& path : *debug_paths()) {
    struct stat status {};
    const fs::path file = store_.layout().real_path(path) / member;
    if (::lstat(file.c_str(), &status) == 0 && S_ISREG(status.st_mode)) {
      found.push_back({path, member});
    }
  }
  return found;
}

DebugInfo::Names DebugInfo::debug_paths() {
  const auto now = std::chrono::steady_clock::now();
  {
    const std::lock_guard lock(mutex_);
    if (paths_ && now - listed_at_ < listing_lifetime) return paths_;
  }
  auto paths = std::make_shared<std::vector<nix::StorePath>>();
  std::error_code error;
  for (fs::directory_iterator item(store_.layout().real_store_dir, error), end;
       !error && item != end; item.increment(error)) {
    const std::string name = item->path().filename().string();
    if (!name.ends_with("-debug")) continue;
    if (auto path = nix::StorePath::parse(name)) paths->push_back(std::move(*path));
  }
  const std::lock_guard lock(mutex_);
  paths_ = std::move(paths);
  listed_at_ = now;
  return paths_;
}

}  // namespace nixbuild::cache
