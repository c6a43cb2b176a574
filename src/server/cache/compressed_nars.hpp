// Compressed NARs for whoever asks: from the NAR cache, else made once for all who ask meanwhile,
// else, where the cache cannot keep the file, made for each client by itself.
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
    std::uint64_t made = 0;      // files that were compressed to their end
    std::uint64_t failed = 0;    // NARs that could not be read or were not what was registered
    std::uint64_t unkept = 0;    // files that the NAR cache could not keep
    std::uint64_t streamed = 0;  // compressions for one client alone
    double seconds = 0;          // taken by those made
  };

  // `threads`: compressions at once, and threads that one alone uses.
  CompressedNars(narcache::NarCache& cache, store::StoreLayout layout, unsigned threads,
                 const Options& options, UnservablePaths& unservable);
  ~CompressedNars();
  CompressedNars(const CompressedNars&) = delete;
  CompressedNars& operator=(const CompressedNars&) = delete;

  // What compresses now.
  const compress::Recipe& recipe(compress::Compression compression) const noexcept;

  // The answer when the file is in the cache and trusted: at once, without waiting.
  std::optional<http::Response> ready(const nix::PathInfo& info, const compress::Recipe& recipe);
  // Any answer: the file, or as it is made. With `ranged` it comes when its size is known. What
  // another recipe made and the cache does not have cannot be made again: then the whole of another
  // file is the answer, and 404 to a range.
  boost::asio::awaitable<http::Response> respond(nix::PathInfo info, compress::Recipe recipe,
                                                 bool ranged);
  // For a URL that does not say what made its file: any file will do, but only as a whole.
  http::Reply respond_whole(const nix::PathInfo& info, compress::Compression compression);

  // Makes the file when nothing else is to be done. Files used since `keep_used_since` are not
  // pushed out of the cache for it. False when there is nothing to do.
  bool warm(const nix::PathInfo& info, compress::Compression compression,
            narcache::NarCache::Clock::time_point keep_used_since);

  // False while files are not kept as the last could not be.
  bool keeping() const;

  // Ends all compressions; whoever follows one gets an error.
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
  // Of files that the cache does not keep; the same bytes come out each time.
  std::map<narcache::NarKey, narcache::NarCache::FileInfo> measured_;
  std::set<narcache::NarKey> too_large_;
  std::chrono::steady_clock::time_point unkept_until_;  // until then the cache is not tried again
  bool stopped_ = false;
  Statistics counts_;
  narcache::WaitingRoom waiting_room_;
  narcache::JobQueue queue_;  // last: its jobs use all of the above
};

}  // namespace nixbuild::cache
