#include "server/proxy/disk_cache.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstddef>
#include <string>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "server/async/offload.hpp"
#include "server/proxy/upstream_narinfo.hpp"

namespace nixbuild::proxy {
namespace {

namespace asio = boost::asio;
using narcache::NarCache;
using narcache::NarCacheError;
using narcache::NarKey;

// Of the whole size, the part that narinfos get: one sixteenth.
constexpr std::uint64_t narinfo_part = 16;
constexpr std::size_t writer_threads = 4;
// Narinfos that wait to be written; more are not kept.
constexpr std::size_t most_waiting = 4'096;
constexpr std::chrono::seconds failure_pause{5};
// The head before a narinfo is a few lines.
constexpr std::uint64_t kept_narinfo_limit = narinfo_limit + 4'096;

NarKey narinfo_key(std::string_view upstream_id, std::string_view hash_part) {
  return {nix::sha256(fmt::format("{}/{}", upstream_id, hash_part)), {}};
}

std::optional<std::string> content_of(const NarCache::OpenFile& file) {
  if (file.info.size > kept_narinfo_limit) return std::nullopt;
  std::string content(static_cast<std::size_t>(file.info.size), '\0');
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t n = ::pread(file.file->get(), content.data() + done, content.size() - done,
                              static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return std::nullopt;
    done += static_cast<std::size_t>(n);
  }
  return content;
}

// Opens an entry, and first checks one that is not trusted.
NarCache::Opened open_checked(NarCache& cache, const NarKey& key) {
  NarCache::Opened opened = cache.open(key);
  if (opened.state != NarCache::State::unverified) return opened;
  cache.verify(key);
  return cache.open(key);
}

}  // namespace

struct DiskCache::Threads {
  asio::thread_pool writers{writer_threads};
  asio::thread_pool finishers{1};
  std::atomic<std::size_t> waiting{0};  // what is to be done with narinfos
};

DiskCache::DiskCache(const std::filesystem::path& directory, std::uint64_t size)
    : nars_(directory / "nars", size - size / narinfo_part),
      narinfos_(directory / "narinfos", size / narinfo_part) {
  if (size > 0) threads_ = std::make_unique<Threads>();
}

DiskCache::~DiskCache() {
  stop();
}

void DiskCache::stop() {
  if (!threads_) return;
  threads_->writers.join();
  threads_->finishers.join();
}

asio::thread_pool& DiskCache::writers() noexcept {
  return threads_->writers;
}

asio::thread_pool& DiskCache::finishers() noexcept {
  return threads_->finishers;
}

bool DiskCache::has_nar(const nix::Sha256& file_hash) const {
  return is_enabled() && nars_.find(key_of(file_hash)).has_value();
}

asio::awaitable<std::optional<NarCache::OpenFile>> DiskCache::open_nar(nix::Sha256 file_hash) {
  const NarKey key = key_of(file_hash);
  if (!has_nar(file_hash)) co_return std::nullopt;
  try {
    NarCache::Opened opened = nars_.open(key);
    if (opened.state == NarCache::State::unverified) {
      asio::awaitable<NarCache::Opened> checking = async::offload<NarCache::Opened>(
          threads_->writers, [this, key] { return open_checked(nars_, key); });
      opened = co_await std::move(checking);
    }
    if (opened.state == NarCache::State::trusted) co_return std::move(opened.file);
  } catch (const Error& error) {
    log::warn("NAR on disk: {}", error.what());
  }
  co_return std::nullopt;
}

bool DiskCache::accepts_nar(std::optional<std::uint64_t> size) const {
  return is_enabled() && std::chrono::steady_clock::now() >= pause_end_ &&
         (!size || *size <= nars_.limit());
}

void DiskCache::failed(const NarCacheError& error) {
  if (dynamic_cast<const narcache::NarTooLarge*>(&error) != nullptr) return;
  pause_end_ = std::chrono::steady_clock::now() + failure_pause;
  if (std::exchange(is_failing_, true)) return;
  log::warn("NARs cannot be kept on disk and are only passed on: {}", error.what());
}

void DiskCache::succeeded() {
  if (std::exchange(is_failing_, false)) log::info("NARs are kept on disk again");
}

void DiskCache::later(std::function<void()> work) {
  ++threads_->waiting;
  asio::post(threads_->finishers, [this, work = std::move(work)] {
    try {
      work();
    } catch (const std::exception& error) {
      // A narinfo that is not kept is asked for again.
      log::debug("narinfo on disk: {}", error.what());
    }
    --threads_->waiting;
  });
}

std::optional<KeptNarinfo> DiskCache::read(const NarKey& key) {
  const NarCache::Opened opened = open_checked(narinfos_, key);
  if (opened.state != NarCache::State::trusted) return std::nullopt;
  try {
    if (const auto content = content_of(opened.file)) return parse_kept_narinfo(*content);
  } catch (const FormatError& error) {
    log::debug("narinfo on disk: {}", error.what());
  }
  narinfos_.remove(key);
  return std::nullopt;
}

void DiskCache::write(const NarKey& key, const KeptNarinfo& kept) {
  const std::string bytes = render_kept_narinfo(kept);
  const auto writer = narinfos_.create(key);
  writer->append(bytes);
  writer->commit(nix::sha256(bytes), NarCache::Writer::Flush::no);
}

std::optional<KeptNarinfo> DiskCache::narinfo(std::string_view upstream_id,
                                              std::string_view hash_part) {
  if (!is_enabled()) return std::nullopt;
  const NarKey key = narinfo_key(upstream_id, hash_part);
  if (!narinfos_.find(key)) return std::nullopt;
  try {
    return read(key);
  } catch (const Error& error) {
    log::debug("narinfo on disk: {}", error.what());
    return std::nullopt;
  }
}

void DiskCache::put_narinfo(std::string_view upstream_id, std::string_view hash_part,
                            KeptNarinfo kept) {
  if (!is_enabled() || threads_->waiting >= most_waiting) return;
  later([this, key = narinfo_key(upstream_id, hash_part), kept = std::move(kept)] {
    write(key, kept);
  });
}

void DiskCache::change_narinfo(std::string_view upstream_id, std::string_view hash_part,
                               Change change) {
  if (!is_enabled() || threads_->waiting >= most_waiting) return;
  later([this, key = narinfo_key(upstream_id, hash_part), change = std::move(change)] {
    std::optional<KeptNarinfo> kept = read(key);
    if (!kept) return;
    change(*kept);
    write(key, *kept);
  });
}

void DiskCache::remove_narinfo(std::string_view upstream_id, std::string_view hash_part) {
  if (!is_enabled()) return;
  const NarKey key = narinfo_key(upstream_id, hash_part);
  // Without anything on its way, a path that nobody has costs nothing.
  if (threads_->waiting == 0 && !narinfos_.find(key)) return;
  later([this, key] { narinfos_.remove(key); });
}

}  // namespace nixbuild::proxy
