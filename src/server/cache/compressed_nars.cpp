#include "server/cache/compressed_nars.hpp"

#include <chrono>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "server/cache/responses.hpp"
#include "server/narcache/nar_check.hpp"
#include "server/store/nar_source.hpp"

namespace nixbuild::cache {
namespace {

namespace asio = boost::asio;

// How long not to use the cache after it could not keep a file. Meanwhile NARs are compressed
// separately for each client.
constexpr std::chrono::seconds unkept_pause{5};
constexpr std::size_t measured_limit = 10'000;
// The memory limit for compressors that wait for slow clients. It allows fewer than the queue, so
// that clients that do not read cannot keep others from being served.
constexpr std::uint64_t waiting_bytes = std::uint64_t{256} << 20;
constexpr std::size_t waiting_streams = 24;
// The hash of a larger NAR is checked after it was sent, see NarCheck. In bytes.
constexpr std::uint64_t checked_at_once = std::uint64_t{32} << 20;

// Whether a production failed because of the store path.
bool is_damage(const std::exception& failure) {
  return dynamic_cast<const narcache::DamagedPath*>(&failure) != nullptr ||
         store::blames_path(failure);
}

// For a URL that does not identify the bytes: the next request may get different ones.
http::Response whole_only(http::Response response) {
  response.accept_ranges = false;
  response.etag.clear();
  response.cache_control = "no-store";
  return response;
}

}  // namespace

// A stream that ends with the coroutine that reads it, or on stop().
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

// A client waiting for a production. When the last one leaves, the production is cancelled if it
// has not started, or if no narinfo advertises its recipe.
class CompressedNars::Follower {
 public:
  Follower(CompressedNars& nars, std::shared_ptr<narcache::NarProduction> production)
      : nars_(nars), production_(std::move(production)) {
    const std::lock_guard lock(nars_.mutex_);
    ++production_->followers;
  }
  ~Follower() {
    const std::lock_guard lock(nars_.mutex_);
    if (--production_->followers > 0 || production_->wanted) return;
    const bool advertised = production_->key().recipe.compression == nars_.advertised_;
    if (!production_->begun() || !advertised) production_->cancel();
  }
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

 private:
  CompressedNars& nars_;
  std::shared_ptr<narcache::NarProduction> production_;
};

CompressedNars::CompressedNars(narcache::NarCache& cache, store::StoreLayout layout,
                               unsigned threads, const Options& options,
                               UnservablePaths& unservable)
    : cache_(cache),
      layout_(std::move(layout)),
      advertised_(options.advertised),
      zstd_(compress::recipe_of(compress::Compression::zstd, options.zstd_level)),
      xz_(compress::recipe_of(compress::Compression::xz, options.xz_level)),
      unservable_(unservable),
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

const compress::Recipe& CompressedNars::recipe(compress::Compression compression) const noexcept {
  return compression == compress::Compression::xz ? xz_ : zstd_;
}

std::optional<http::Response> CompressedNars::ready(const nix::PathInfo& info,
                                                    const compress::Recipe& recipe) {
  narcache::NarCache::Opened opened = cache_.open({info.nar_hash, recipe});
  if (opened.state != narcache::NarCache::State::trusted) return std::nullopt;
  return nar_file_response(std::move(opened.file));
}

http::Reply CompressedNars::respond_whole(const nix::PathInfo& info,
                                          compress::Compression compression) {
  compress::Recipe made_by = recipe(compression);
  if (const auto kept = cache_.find_any({info.nar_hash, made_by})) made_by = kept->key.recipe;
  if (auto response = ready(info, made_by)) return whole_only(std::move(*response));
  return respond_as_whole(info, made_by);
}

asio::awaitable<http::Response> CompressedNars::respond_as_whole(nix::PathInfo info,
                                                                 compress::Recipe recipe) {
  asio::awaitable<http::Response> responding = respond(std::move(info), recipe, false);
  http::Response response = co_await std::move(responding);
  co_return whole_only(std::move(response));
}

asio::awaitable<http::Response> CompressedNars::respond(nix::PathInfo info, compress::Recipe recipe,
                                                        bool ranged) {
  const compress::Recipe& now = this->recipe(recipe.compression);
  const bool reproducible = recipe == now;
  const auto production = reproducible || cache_.find({info.nar_hash, recipe})
                              ? produce(info, recipe, narcache::Priority::foreground,
                                        narcache::NarCache::Clock::time_point::max())
                              : nullptr;
  if (production) {
    const Follower follower(*this, production);
    // Before the first byte, a path that has no NAR can still be answered 404.
    const bool to_the_end = ranged || cache_.find({info.nar_hash, recipe});
    asio::awaitable<narcache::NarProduction::Progress> waiting =
        to_the_end ? production->wait_for_end() : production->wait(0);
    const narcache::NarProduction::Progress progress = co_await std::move(waiting);
    if (progress.state == narcache::NarProduction::State::complete) {
      co_return nar_file_response({production->file(), {{}, progress.available}});
    }
    if (progress.state == narcache::NarProduction::State::failed && reproducible) {
      // Only in this case: a client that resumes a download treats 404 as final, but retries after
      // a server error.
      if (production->blames_path()) co_return not_found("no such NAR\n");
      throw Error(production->error());
    }
  }
  if (!reproducible) {
    if (ranged) co_return not_found("no such NAR: it can no longer be reproduced\n");
    asio::awaitable<http::Response> responding = respond_as_whole(std::move(info), now);
    http::Response response = co_await std::move(responding);
    co_return response;
  }
  if (!ranged) {
    co_return nar_stream_response(
        std::nullopt, [this, info = std::move(info), recipe](http::BodyWriter& out, std::uint64_t,
                                                             std::uint64_t) {
          return follow(out, info, recipe);
        });
  }
  asio::awaitable<narcache::NarCache::FileInfo> measuring = measure(info, recipe);
  const narcache::NarCache::FileInfo measured = co_await std::move(measuring);
  co_return nar_stream_response(
      measured.size, [this, info = std::move(info), recipe](
                         http::BodyWriter& out, std::uint64_t offset, std::uint64_t length) {
        return send_alone(out, info, recipe, offset, length);
      });
}

// Null if the cache would not keep the file.
std::shared_ptr<narcache::NarProduction> CompressedNars::produce(
    const nix::PathInfo& info, const compress::Recipe& recipe, narcache::Priority priority,
    narcache::NarCache::Clock::time_point keep_used_since) {
  const narcache::NarKey key{info.nar_hash, recipe};
  const bool awaited = priority == narcache::Priority::foreground;
  std::shared_ptr<narcache::NarProduction> production;
  bool begun = false;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) throw Error("the server is stopping");
    auto& slot = productions_[key];
    if (!slot || slot->cancelled()) {
      if (cache_.limit() == 0 || too_large_.contains(key) ||
          std::chrono::steady_clock::now() < unkept_until_) {
        productions_.erase(key);
        return nullptr;
      }
      slot = std::make_shared<narcache::NarProduction>(
          cache_,
          narcache::NarProduction::Task{
              key, input_of(info), recipe == this->recipe(recipe.compression), keep_used_since},
          [this, info](narcache::NarProduction& ended, const std::exception* failure) {
            on_production_end(ended, info, failure);
          });
      begun = true;
    }
    if (awaited) slot->awaited = true;
    if (!awaited) slot->wanted = true;
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
  if (failure != nullptr && is_damage(*failure)) unservable_.add(info.path);
  const std::lock_guard lock(mutex_);
  // A cancelled production may already have been replaced.
  const auto slot = productions_.find(production.key());
  if (slot != productions_.end() && slot->second.get() == &production) productions_.erase(slot);
  if (production.cancelled()) return;
  if (failure == nullptr) {
    if (production.seconds() > 0) ++counts_.made;
    counts_.seconds += production.seconds();
  } else if (dynamic_cast<const narcache::NarTooLarge*>(failure) != nullptr) {
    ++counts_.unkept;
    if (too_large_.size() >= measured_limit) too_large_.clear();
    too_large_.insert(production.key());
  } else if (dynamic_cast<const narcache::NarCacheError*>(failure) != nullptr) {
    ++counts_.unkept;
    // A production that no client waits for may use less space, so its failure does not count.
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
    if (!stopped_) log::warn("cannot compress a NAR: {}", failure->what());
  }
}

void CompressedNars::check_later(const nix::PathInfo& info, const narcache::NarKey& key) {
  narcache::NarInput input = input_of(info);
  input.hash = info.nar_hash;
  const auto ended = [this, path = info.path](const narcache::NarCheck& check,
                                              const std::exception* failure) {
    if (dynamic_cast<const narcache::DamagedPath*>(failure) == nullptr) return;
    log::error("{}; its compressed NAR is not kept", failure->what());
    unservable_.add(path);
    cache_.remove(check.key());
    const std::lock_guard lock(mutex_);
    ++counts_.failed;
  };
  queue_.add(std::make_shared<narcache::NarCheck>(key, std::move(input), ended),
             narcache::Priority::background);
}

asio::awaitable<void> CompressedNars::follow(http::BodyWriter& out, nix::PathInfo info,
                                             compress::Recipe recipe) {
  const auto production = produce(info, recipe, narcache::Priority::foreground,
                                  narcache::NarCache::Clock::time_point::max());
  std::optional<Follower> follower;
  if (production) follower.emplace(*this, production);
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
  asio::awaitable<void> rest = send_alone(out, std::move(info), recipe, sent, UINT64_MAX);
  co_await std::move(rest);
}

asio::awaitable<void> CompressedNars::send_alone(http::BodyWriter& out, nix::PathInfo info,
                                                 compress::Recipe recipe, std::uint64_t offset,
                                                 std::uint64_t length) {
  const FollowedStream followed(*this, {input_of(info), recipe, offset, length});
  for (;;) {
    asio::awaitable<std::string> reading = followed.stream().read();
    const std::string bytes = co_await std::move(reading);
    if (bytes.empty()) co_return;
    asio::awaitable<void> writing = out.write(bytes);
    co_await std::move(writing);
  }
}

// Compresses a file that is not kept, which is the only way to find its size.
asio::awaitable<narcache::NarCache::FileInfo> CompressedNars::measure(nix::PathInfo info,
                                                                      compress::Recipe recipe) {
  const narcache::NarKey key{info.nar_hash, recipe};
  {
    const std::lock_guard lock(mutex_);
    if (const auto known = measured_.find(key); known != measured_.end()) co_return known->second;
  }
  const FollowedStream followed(*this, {input_of(info), recipe, UINT64_MAX, 0});
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
  const compress::Recipe& now = recipe(compression);
  if (cache_.find_any({info.nar_hash, now})) return false;
  return produce(info, now, narcache::Priority::background, keep_used_since) != nullptr;
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
