#include "server/cache/compressed_nars.hpp"

#include <chrono>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "server/cache/responses.hpp"
#include "server/narcache/nar_check.hpp"

namespace nixbuild::cache {
namespace {

namespace asio = boost::asio;

// How long a cache that could not keep a file is left alone. Meanwhile every client has its NARs
// compressed for itself.
constexpr std::chrono::seconds unkept_pause{5};
constexpr std::size_t measured_limit = 10'000;
// What compressors may take that wait for slow clients. Fewer at once than the queue lets begin, so
// that clients which take nothing keep nobody from being served.
constexpr std::uint64_t waiting_bytes = std::uint64_t{256} << 20;
constexpr std::size_t waiting_streams = 24;
// The hash of a larger NAR is checked after it was sent, see NarCheck. In bytes.
constexpr std::uint64_t checked_at_once = std::uint64_t{32} << 20;

}  // namespace

// A stream that ends with the coroutine that reads it, and with stop().
class CompressedNars::FollowedStream {
 public:
  FollowedStream(CompressedNars& nars, narcache::NarStream::Task task)
      : nars_(nars),
        stream_(std::make_shared<narcache::NarStream>(std::move(task), nars.queue_,
                                                      nars.waiting_room_)) {
    {
      const std::lock_guard lock(nars_.mutex_);
      if (nars_.stopped_) throw Error("the server is stopping");
      nars_.streams_.insert(stream_.get());
      ++nars_.counts_.streamed;
    }
    stream_->begin();
  }
  ~FollowedStream() {
    stream_->cancel();
    const std::lock_guard lock(nars_.mutex_);
    nars_.streams_.erase(stream_.get());
  }
  FollowedStream(const FollowedStream&) = delete;
  FollowedStream& operator=(const FollowedStream&) = delete;

  narcache::NarStream& stream() const noexcept { return *stream_; }

 private:
  CompressedNars& nars_;
  std::shared_ptr<narcache::NarStream> stream_;
};

CompressedNars::CompressedNars(narcache::NarCache& cache, store::StoreLayout layout,
                               unsigned threads, Levels levels)
    : cache_(cache),
      layout_(std::move(layout)),
      levels_(levels),
      waiting_room_(waiting_bytes, waiting_streams),
      queue_(threads) {}

CompressedNars::~CompressedNars() {
  stop();
}

void CompressedNars::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    for (const auto& [key, production] : productions_)
      production->cancel();
    for (narcache::NarStream* stream : streams_)
      stream->cancel();
  }
  queue_.stop();
}

narcache::NarInput CompressedNars::input_of(const nix::PathInfo& info) const {
  narcache::NarInput input{layout_.real_path(info.path), info.nar_size, std::nullopt};
  if (info.nar_size <= checked_at_once) input.hash = info.nar_hash;
  return input;
}

int CompressedNars::level_of(compress::Compression compression) const noexcept {
  return compression == compress::Compression::xz ? levels_.xz : levels_.zstd;
}

std::optional<http::Response> CompressedNars::ready(const nix::PathInfo& info,
                                                    compress::Compression compression) {
  narcache::NarCache::Opened opened = cache_.open({info.nar_hash, compression});
  if (opened.state != narcache::NarCache::State::trusted) return std::nullopt;
  return nar_file_response(std::move(opened.file));
}

asio::awaitable<http::Response> CompressedNars::respond(nix::PathInfo info,
                                                        compress::Compression compression,
                                                        bool ranged) {
  const narcache::NarKey key{info.nar_hash, compression};
  if (ranged || cache_.find(key)) {
    const auto production = produce(info, compression, narcache::Priority::foreground,
                                    narcache::NarCache::Clock::time_point::max());
    if (production) {
      asio::awaitable<narcache::NarProduction::Progress> end = production->wait_for_end();
      const narcache::NarProduction::Progress progress = co_await std::move(end);
      if (progress.state == narcache::NarProduction::State::complete) {
        co_return nar_file_response({production->file(), {{}, progress.available}});
      }
      if (progress.state == narcache::NarProduction::State::failed) {
        // Only then: a client that goes on with a download takes 404 for final, and asks again
        // after an error of ours.
        if (production->blames_path()) co_return not_found("no such NAR\n");
        throw Error(production->error());
      }
    }
  }
  if (!ranged) {
    co_return nar_stream_response(
        std::nullopt, [this, info = std::move(info), compression](http::BodyWriter& out,
                                                                  std::uint64_t, std::uint64_t) {
          return follow(out, info, compression);
        });
  }
  asio::awaitable<narcache::NarCache::FileInfo> measuring = measure(info, compression);
  const narcache::NarCache::FileInfo measured = co_await std::move(measuring);
  co_return nar_stream_response(
      measured.size, [this, info = std::move(info), compression](
                         http::BodyWriter& out, std::uint64_t offset, std::uint64_t length) {
        return send_alone(out, info, compression, offset, length);
      });
}

// Null when the cache would not keep the file.
std::shared_ptr<narcache::NarProduction> CompressedNars::produce(
    const nix::PathInfo& info, compress::Compression compression, narcache::Priority priority,
    narcache::NarCache::Clock::time_point keep_used_since) {
  const narcache::NarKey key{info.nar_hash, compression};
  const bool awaited = priority == narcache::Priority::foreground;
  std::shared_ptr<narcache::NarProduction> production;
  bool begun = false;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) throw Error("the server is stopping");
    auto& slot = productions_[key];
    if (!slot) {
      if (cache_.limit() == 0 || too_large_.contains(key) ||
          std::chrono::steady_clock::now() < unkept_until_) {
        productions_.erase(key);
        return nullptr;
      }
      slot = std::make_shared<narcache::NarProduction>(
          cache_,
          narcache::NarProduction::Task{key, input_of(info), level_of(compression),
                                        keep_used_since},
          [this, info](narcache::NarProduction& ended, const std::exception* failure) {
            on_production_end(ended, info, failure);
          });
      begun = true;
    }
    if (awaited) slot->awaited = true;
    production = slot;
  }
  if (begun) queue_.add(production, priority);
  if (production->awaited && (!awaited || !begun)) queue_.promote(production.get());
  return production;
}

void CompressedNars::on_production_end(narcache::NarProduction& production,
                                       const nix::PathInfo& info, const std::exception* failure) {
  if (failure == nullptr && production.seconds() > 0 && info.nar_size > checked_at_once) {
    check_later(info, production.key());
  }
  const std::lock_guard lock(mutex_);
  productions_.erase(production.key());
  if (failure == nullptr) {
    if (production.seconds() > 0) ++counts_.made;
    counts_.seconds += production.seconds();
  } else if (dynamic_cast<const narcache::NarTooLarge*>(failure) != nullptr) {
    ++counts_.unkept;
    if (too_large_.size() >= measured_limit) too_large_.clear();
    too_large_.insert(production.key());
  } else if (dynamic_cast<const narcache::NarCacheError*>(failure) != nullptr) {
    ++counts_.unkept;
    // What was begun for nobody found less room than others would.
    if (dynamic_cast<const narcache::NarCacheFull*>(failure) != nullptr || !production.awaited)
      return;
    const auto now = std::chrono::steady_clock::now();
    if (now >= unkept_until_) {
      log::warn("NAR cache: {}; for {} s nothing is kept, compressed NARs are made for each client",
                failure->what(), unkept_pause.count());
    }
    unkept_until_ = now + unkept_pause;
  } else {
    ++counts_.failed;
    if (!stopped_) log::warn("compressing a NAR: {}", failure->what());
  }
}

void CompressedNars::check_later(const nix::PathInfo& info, const narcache::NarKey& key) {
  narcache::NarInput input = input_of(info);
  input.hash = info.nar_hash;
  const auto ended = [this](const narcache::NarCheck& check, const std::exception* failure) {
    if (dynamic_cast<const narcache::DamagedPath*>(failure) == nullptr) return;
    log::error("{}; its compressed NAR is not kept", failure->what());
    cache_.remove(check.key());
    const std::lock_guard lock(mutex_);
    ++counts_.failed;
  };
  queue_.add(std::make_shared<narcache::NarCheck>(key, std::move(input), ended),
             narcache::Priority::background);
}

asio::awaitable<void> CompressedNars::follow(http::BodyWriter& out, nix::PathInfo info,
                                             compress::Compression compression) {
  const auto production = produce(info, compression, narcache::Priority::foreground,
                                  narcache::NarCache::Clock::time_point::max());
  std::uint64_t sent = 0;
  while (production) {
    asio::awaitable<narcache::NarProduction::Progress> more = production->wait(sent);
    const narcache::NarProduction::Progress progress = co_await std::move(more);
    if (progress.available > sent) {
      const auto file = production->file();
      asio::awaitable<void> sending = out.send_file(file->get(), sent, progress.available - sent);
      co_await std::move(sending);
      sent = progress.available;
    }
    if (progress.state == narcache::NarProduction::State::complete) co_return;
    if (progress.state == narcache::NarProduction::State::failed) throw Error(production->error());
    if (progress.state == narcache::NarProduction::State::unkept) break;
  }
  asio::awaitable<void> rest = send_alone(out, std::move(info), compression, sent, UINT64_MAX);
  co_await std::move(rest);
}

asio::awaitable<void> CompressedNars::send_alone(http::BodyWriter& out, nix::PathInfo info,
                                                 compress::Compression compression,
                                                 std::uint64_t offset, std::uint64_t length) {
  const FollowedStream followed(
      *this, {input_of(info), compression, level_of(compression), offset, length});
  for (;;) {
    asio::awaitable<std::string> reading = followed.stream().read();
    const std::string bytes = co_await std::move(reading);
    if (bytes.empty()) co_return;
    asio::awaitable<void> writing = out.write(bytes);
    co_await std::move(writing);
  }
}

// The size of a file that is not kept is known only by making it.
asio::awaitable<narcache::NarCache::FileInfo> CompressedNars::measure(
    nix::PathInfo info, compress::Compression compression) {
  const narcache::NarKey key{info.nar_hash, compression};
  {
    const std::lock_guard lock(mutex_);
    if (const auto known = measured_.find(key); known != measured_.end()) co_return known->second;
  }
  const FollowedStream followed(
      *this, {input_of(info), compression, level_of(compression), UINT64_MAX, 0});
  asio::awaitable<std::string> end = followed.stream().read();
  const std::string nothing = co_await std::move(end);
  const narcache::NarCache::FileInfo measured = followed.stream().info();
  const std::lock_guard lock(mutex_);
  if (measured_.size() >= measured_limit) measured_.clear();
  measured_.emplace(key, measured);
  co_return measured;
}

bool CompressedNars::warm(const nix::PathInfo& info, compress::Compression compression,
                          narcache::NarCache::Clock::time_point keep_used_since) {
  if (cache_.find({info.nar_hash, compression})) return false;
  return produce(info, compression, narcache::Priority::background, keep_used_since) != nullptr;
}

bool CompressedNars::keeping() const {
  const std::lock_guard lock(mutex_);
  return std::chrono::steady_clock::now() >= unkept_until_;
}

CompressedNars::Statistics CompressedNars::statistics() const {
  Statistics result;
  {
    const std::lock_guard lock(mutex_);
    result = counts_;
  }
  result.jobs = queue_.statistics();
  return result;
}

}  // namespace nixbuild::cache
