#include "server/cache/build_logs.hpp"

#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/base/unique_fd.hpp"
#include "server/async/offload.hpp"
#include "server/cache/bzip2_reader.hpp"
#include "server/cache/responses.hpp"

namespace nixbuild::cache {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;

// Decompression takes about 4 MiB until the client has read the log.
constexpr unsigned most_compressed = 32;

// Builders can write to the log directory if Nix has no daemon and no sandbox. Returns no
// descriptor if there is no regular file. Throws SystemError if it cannot be opened.
UniqueFd open_log(const fs::path& directory, const fs::path& path) {
  try {
    auto file = open_beneath(directory, path);
    return file ? std::move(*file) : UniqueFd();
  } catch (const SystemError&) {
    throw;
  } catch (const Error&) {
    return {};
  }
}

// A compressed log being sent; counted until it is destroyed.
struct OpenLog {
  OpenLog(UniqueFd descriptor, std::shared_ptr<std::atomic<unsigned>> counter)
      : file(std::move(descriptor)), count(std::move(counter)), number(++*count) {}
  ~OpenLog() { --*count; }
  OpenLog(const OpenLog&) = delete;
  OpenLog& operator=(const OpenLog&) = delete;

  UniqueFd file;
  const std::shared_ptr<std::atomic<unsigned>> count;
  const unsigned number;
};

http::Response log_response(http::Body body) {
  http::Response response;
  response.content_type = "text/plain; charset=utf-8";
  response.body = std::move(body);
  return response;
}

asio::awaitable<void> send_decompressed(http::BodyWriter& out, std::shared_ptr<Bzip2Reader> reader,
                                        asio::thread_pool& workers) {
  for (;;) {
    std::function<std::string()> work = [reader] { return reader->read(); };
    asio::awaitable<std::string> reading = async::offload<std::string>(workers, std::move(work));
    const std::string text = co_await std::move(reading);
    if (text.empty()) co_return;
    asio::awaitable<void> writing = out.write(text);
    co_await std::move(writing);
  }
}

}  // namespace

http::Reply BuildLogs::handle(std::string_view name) {
  if (nix::is_hash_part(name)) return answer_for(std::string(name));
  const auto path = nix::StorePath::parse(name);
  if (!path) return not_found("no such log\n");
  if (!path->is_derivation()) return answer_for(std::string(path->hash_part()));
  return answer(*path);
}

asio::awaitable<http::Response> BuildLogs::answer_for(std::string hash_part) {
  std::optional<nix::PathInfo> info;
  try {
    asio::awaitable<std::optional<nix::PathInfo>> asking = store_.find_path(std::move(hash_part));
    info = co_await std::move(asking);
  } catch (const store::StoreUnavailable&) {
    co_return store_unavailable();
  }
  if (info && info->path.is_derivation()) co_return answer(info->path);
  if (!info || !info->deriver) co_return not_found("no such log\n");
  co_return answer(*info->deriver);
}

// Nix writes <log directory>/drvs/<first two characters>/<the rest>.bz2, without .bz2 if
// compress-build-log is off. Very old logs are not split by the first two characters.
http::Response BuildLogs::answer(const nix::StorePath& derivation) {
  const std::string& name = derivation.base_name();
  const fs::path& directory = store_.layout().nix_log_dir;
  const std::array<fs::path, 2> places{fs::path("drvs") / name.substr(0, 2) / name.substr(2),
                                       fs::path("drvs") / name};
  for (const fs::path& place : places) {
    if (UniqueFd file = open_log(directory, place)) {
      struct stat status {};
      if (::fstat(file.get(), &status) == 0) {
        const auto size = static_cast<std::uint64_t>(status.st_size);
        return log_response(
            http::FileBody{std::make_shared<const UniqueFd>(std::move(file)), size});
      }
    }
    fs::path compressed = place;
    compressed += ".bz2";
    if (UniqueFd file = open_log(directory, compressed)) {
      auto open = std::make_shared<OpenLog>(std::move(file), compressed_open_);
      if (open->number > most_compressed) {
        return http::text_response(503, "many logs are being read: try again\n");
      }
      return log_response(http::StreamBody{
          std::nullopt,
          [this, open, directory, compressed](http::BodyWriter& out, std::uint64_t, std::uint64_t) {
            return send_decompressed(
                out, std::make_shared<Bzip2Reader>(std::move(open->file), directory / compressed),
                workers_);
          }});
    }
  }
  return not_found("no such log\n");
}

}  // namespace nixbuild::cache
