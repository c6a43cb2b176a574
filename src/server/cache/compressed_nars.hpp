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
  struct Levels {
    int zstd = 3;
    int xz = 6;
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
                 Levels levels);
  ~CompressedNars();
  CompressedNars(const CompressedNars&) = delete;
  CompressedNars& operator=(const CompressedNars&) = delete;

  // The answer when the file is in the cache and trusted: at once, without waiting.
  std::optional<http::Response> ready(const nix::PathInfo& info, compress::Compression compression);
  // Any answer: the file, or as it is made. With `ranged` it comes when its size is known.
  boost::asio::awaitable<http::Response> respond(nix::PathInfo info,
                                                 compress::Compression compression, bool ranged);

  // Has the file made when nothing else is to be done. Files used since `keep_used_since` are not
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

  narcache::NarInput input_of(const nix::PathInfo& info) const;
  void check_later(const nix::PathInfo& info, const narcache::NarKey& key);
  int level_of(compress::Compression compression) const noexcept;
  std::shared_ptr<narcache::NarProduction> produce(
      const nix::PathInfo& info, compress::Compression compression, narcache::Priority priority,
      narcache::NarCache::Clock::time_point keep_used_since);
  void on_production_end(narcache::NarProduction& production, const nix::PathInfo& info,
                         const std::exception* failure);
  boost::asio::awaitable<void> follow(http::BodyWriter& out, nix::PathInfo info,
                                      compress::Compression compression);
  boost::asio::awaitable<void> send_alone(http::BodyWriter& out, nix::PathInfo info,
                                          compress::Compression compression, std::uint64_t offset,
                                          std::uint64_t length);
  boost::asio::awaitable<narcache::NarCache::FileInfo> measure(nix::PathInfo info,
                                                               compress::Compression compression);

  narcache::NarCache& cache_;
  const store::StoreLayout layout_;
  const Levels levels_;
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
