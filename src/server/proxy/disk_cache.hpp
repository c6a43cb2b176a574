// What the proxy keeps on disk: files of NARs by their hash, and narinfos by upstream and path.
// Each kind is a NAR cache of its own below one directory, which keeps to its part of the size.
//
// It is used on the loop's thread. What may take long runs on threads of its own.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "common/nix/hash.hpp"
#include "server/narcache/nar_cache.hpp"
#include "server/proxy/kept_narinfo.hpp"

namespace nixbuild::proxy {

class DiskCache {
 public:
  // With `size` 0, nothing is kept and the directory is left alone. Throws Error if another process
  // uses the directory.
  DiskCache(const std::filesystem::path& directory, std::uint64_t size);
  ~DiskCache();
  DiskCache(const DiskCache&) = delete;
  DiskCache& operator=(const DiskCache&) = delete;

  bool is_enabled() const noexcept { return threads_ != nullptr; }
  // Waits for what is being written; nothing is written afterwards.
  void stop();

  bool has_nar(const nix::Sha256& file_hash) const;
  // The file, once it is known to be undamaged; nothing if it is not there.
  boost::asio::awaitable<std::optional<narcache::NarCache::OpenFile>> open_nar(
      nix::Sha256 file_hash);
  // Whether to try to keep a file of that many bytes.
  bool accepts_nar(std::optional<std::uint64_t> size) const;
  // Work with a file that is received runs in `writers`, keeping it at its end in `finishers`.
  narcache::NarCache& nars() noexcept { return nars_; }
  boost::asio::thread_pool& writers() noexcept;
  boost::asio::thread_pool& finishers() noexcept;
  static narcache::NarKey key_of(const nix::Sha256& file_hash) { return {file_hash, {}}; }
  // A file could not be kept: none is accepted for some time. Or it could.
  void failed(const narcache::NarCacheError& error);
  void succeeded();

  std::optional<KeptNarinfo> narinfo(std::string_view upstream_id, std::string_view hash_part);
  // These are done in their order, after they have returned.
  void put_narinfo(std::string_view upstream_id, std::string_view hash_part, KeptNarinfo kept);
  using Change = std::function<void(KeptNarinfo& kept)>;
  void change_narinfo(std::string_view upstream_id, std::string_view hash_part, Change change);
  void remove_narinfo(std::string_view upstream_id, std::string_view hash_part);

  narcache::NarCache::Statistics nar_statistics() const { return nars_.statistics(); }
  narcache::NarCache::Statistics narinfo_statistics() const { return narinfos_.statistics(); }
  std::uint64_t limit() const noexcept { return nars_.limit() + narinfos_.limit(); }

 private:
  struct Threads;

  void later(std::function<void()> work);
  std::optional<KeptNarinfo> read(const narcache::NarKey& key);
  void write(const narcache::NarKey& key, const KeptNarinfo& kept);

  narcache::NarCache nars_;
  narcache::NarCache narinfos_;
  std::unique_ptr<Threads> threads_;  // null: nothing is kept
  std::chrono::steady_clock::time_point pause_end_;
  bool is_failing_ = false;
};

}  // namespace nixbuild::proxy
