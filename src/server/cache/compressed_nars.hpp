// Serves compressed NARs: from the NAR cache; else compressed once for all clients that ask
// meanwhile; or, if the cache cannot keep the file, compressed for each client separately.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>

#include "common/compress/compression.hpp"
#include "common/nix/path_info.hpp"
#include "server/cache/unservable_paths.hpp"
#include "server/http/response.hpp"
#include "server/narcache/job_queue.hpp"
#include "server/narcache/nar_cache.hpp"
#include "server/narcache/nar_production.hpp"
#include "server/narcache/nar_stream.hpp"
#include "server/narcache/waiting_room.hpp"
#include "server/store/store_layout.hpp"

namespace nixbuild::cache {

class CompressedNars {
 public:
  struct Options {
    int zstd_level = 3;
    int xz_level = 6;
    compress::Compression advertised = compress::Compression::zstd;
  };

  struct Statistics {
    narcache::JobQueue::Statistics jobs;
    std::uint64_t made = 0;      // files compressed completely
    std::uint64_t failed = 0;    // NARs that could not be read or did not match the database
    std::uint64_t unkept = 0;    // files that the NAR cache could not keep
    std::uint64_t streamed = 0;  // compressions for a single client
    double seconds = 0;          // total time of those made
  };

  // `threads`: concurrent compressions, and threads used by a single one.
  CompressedNars(narcache::NarCache& cache, store::StoreLayout layout, unsigned threads,
                 const Options& options, UnservablePaths& unservable);
  ~CompressedNars();
  CompressedNars(const CompressedNars&) = delete;
  CompressedNars& operator=(const CompressedNars&) = delete;

  // The recipe for new compressions.
  const compress::Recipe& recipe(compress::Compression compression) const noexcept;

  // The response if the file is in the cache and trusted. Never waits.
  std::optional<http::Response> ready(const nix::PathInfo& info, const compress::Recipe& recipe);
  // The response in all cases: the cached file, or a stream of it while it is made. With `ranged`,
  // it waits until the size is known. A file made by another recipe that is not in the cache cannot
  // be made again: the response is then another file as a whole, or 404 to a range request.
  boost::asio::awaitable<http::Response> respond(nix::PathInfo info, compress::Recipe recipe,
                                                 bool ranged);
  // For a URL without a recipe: any file will do, but only as a whole.
  http::Reply respond_whole(const nix::PathInfo& info, compress::Compression compression);

  // Makes the file when the queue is otherwise empty. It does not evict files used since
  // `keep_used_since` from the cache. False if there is nothing to do.
  bool warm(const nix::PathInfo& info, compress::Compression compression,
            narcache::NarCache::Clock::time_point keep_used_since);

  // False for a while after a file could not be kept.
  bool keeping() const;

  // Ends all compressions; their clients get an error.
  void stop();

  Statistics statistics() const;

 private:
  class FollowedStream;
  class Follower;

  narcache::NarInput input_of(const nix::PathInfo& info) const;
  void check_later(const nix::PathInfo& info, const narcache::NarKey& key);
  std::shared_ptr<narcache::NarProduction> produce(
      const nix::PathInfo& info, const compress::Recipe& recipe, narcache::Priority priority,
      narcache::NarCache::Clock::time_point keep_used_since);
  void on_production_end(narcache::NarProduction& production, const nix::PathInfo& info,
                         const std::exception* failure);
  boost::asio::awaitable<http::Response> respond_as_whole(nix::PathInfo info,
                                                          compress::Recipe recipe);
  boost::asio::awaitable<void> follow(http::BodyWriter& out, nix::PathInfo info,
                                      compress::Recipe recipe);
  boost::asio::awaitable<void> send_alone(http::BodyWriter& out, nix::PathInfo info,
                                          compress::Recipe recipe, std::uint64_t offset,
                                          std::uint64_t length);
  boost::asio::awaitable<narcache::NarCache::FileInfo> measure(nix::PathInfo info,
                                                               compress::Recipe recipe);

  narcache::NarCache& cache_;
  const store::StoreLayout layout_;
  const compress::Compression advertised_;
  const compress::Recipe zstd_;
  const compress::Recipe xz_;
  UnservablePaths& unservable_;
  mutable std::mutex mutex_;
  std::map<narcache::NarKey, std::shared_ptr<narcache::NarProduction>> productions_;
  std::set<narcache::NarStream*> streams_;
  // For files that the cache does not keep; compressing again gives the same bytes.
  std::map<narcache::NarKey, narcache::NarCache::FileInfo> measured_;
  std::set<narcache::NarKey> too_large_;
  std::chrono::steady_clock::time_point unkept_until_;  // the cache is not used until then
  bool stopped_ = false;
  Statistics counts_;
  narcache::WaitingRoom waiting_room_;
  narcache::JobQueue queue_;  // last: its jobs use all of the above
};

}  // namespace nixbuild::cache
