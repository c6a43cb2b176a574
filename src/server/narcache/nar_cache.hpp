// The NAR cache: compressed NARs, or files that other caches have made, in a directory that only
// one process uses.
//
// A file is named <NAR hash>-<recipe>-<file hash>-<size>.nar.zst (or .xz), so a restarted server
// learns everything it needs from the name; files of older versions have no recipe in their names.
// A file that was not made here is named <key's hash>-<file hash>-<size>.file.
// A file is written under a temporary name ("tmp-…"), flushed and renamed. An entry's key includes
// the recipe, because another level or library produces a different file.
//
// Files written by this process and unchanged since are trusted. Any other file (found at start, or
// with a changed identity: inode, size, times) is read and checked against its name once before it
// is sent. Above the size limit, the least recently used file is removed; clients that are
// downloading it are not affected, because it is still open.
//
// Every function may be called from any thread.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <compare>
#include <cstdint>
#include <filesystem>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.hpp"
#include "common/base/unique_fd.hpp"
#include "common/compress/compression.hpp"
#include "common/nix/hash.hpp"

namespace nixbuild::narcache {

// The cache cannot store a file: disk full, read-only, too small. The file can still be made and
// sent without the cache.
class NarCacheError : public Error {
 public:
  using Error::Error;
};

// The file alone exceeds the limit of the whole cache.
class NarTooLarge : public NarCacheError {
 public:
  using NarCacheError::NarCacheError;
};

// There is no room, because the files in the cache must stay.
class NarCacheFull : public NarCacheError {
 public:
  using NarCacheError::NarCacheError;
};

struct NarKey {
  nix::Sha256 nar_hash;
  // With the compression none: a file that was not made here, whatever it is. `nar_hash` is then
  // any hash that its owner finds it by.
  compress::Recipe recipe;

  friend auto operator<=>(const NarKey&, const NarKey&) = default;
};

class NarCache {
 public:
  // The file's properties in a narinfo.
  struct FileInfo {
    nix::Sha256 hash;
    std::uint64_t size = 0;  // bytes

    friend bool operator==(const FileInfo&, const FileInfo&) = default;
  };

  struct OpenFile {
    std::shared_ptr<const UniqueFd> file;
    FileInfo info;
  };

  enum class State { absent, unverified, trusted };

  struct Opened {
    State state = State::absent;
    OpenFile file;  // if trusted
  };

  struct Statistics {
    std::uint64_t entries = 0;
    std::uint64_t bytes = 0;
    std::uint64_t hits = 0;
    std::uint64_t misses = 0;
    std::uint64_t evictions = 0;
    std::uint64_t rejected = 0;  // corrupt files
  };

  class Writer;

  // `limit` in bytes; with 0, nothing is cached. Creates the directory if it is missing. If the
  // directory cannot be used, logs a warning and works without caching. Throws Error if another
  // process uses it.
  NarCache(std::filesystem::path directory, std::uint64_t limit);
  NarCache(const NarCache&) = delete;
  NarCache& operator=(const NarCache&) = delete;

  // Looks only in memory.
  std::optional<FileInfo> find(const NarKey& key) const;
  struct Kept {
    NarKey key;
    FileInfo info;
  };
  // The NAR's file made by the preferred recipe; otherwise one made by another recipe of the same
  // compression; otherwise one with an unknown recipe.
  std::optional<Kept> find_any(const NarKey& preferred) const;
  // Opens the entry's file for sending and marks it used.
  Opened open(const NarKey& key);
  // Reads and checks an unverified entry's file; afterwards the entry is trusted or removed.
  void verify(const NarKey& key);

  // Removes the entry and its file.
  void remove(const NarKey& key);

  // Starts a file, which may evict others. Files used since `keep_used_since` stay, so that files
  // made in advance do not evict those in use. Throws NarCacheError.
  using Clock = std::chrono::system_clock;
  std::unique_ptr<Writer> create(const NarKey& key,
                                 Clock::time_point keep_used_since = Clock::time_point::max());

  // Changes whenever the results of find() may change.
  std::uint64_t generation() const noexcept { return generation_.load(std::memory_order_acquire); }
  Statistics statistics() const;
  const std::filesystem::path& directory() const noexcept { return directory_; }
  std::uint64_t limit() const noexcept { return limit_; }

 private:
  struct Identity {
    dev_t device = 0;
    ino_t inode = 0;
    std::int64_t size = 0;
    std::int64_t modified = 0;  // nanoseconds
    std::int64_t changed = 0;

    friend bool operator==(const Identity&, const Identity&) = default;
  };
  struct Entry {
    FileInfo info;
    std::optional<Identity> trusted;
    Clock::time_point used;
    Clock::time_point touched;  // the last use recorded in the file's modification time
    std::list<NarKey>::iterator order;
  };
  using Entries = std::map<NarKey, Entry>;

  // Files to be removed after the lock is released, because removing a large file takes time. They
  // already have temporary names.
  class Doomed {
   public:
    Doomed() = default;
    ~Doomed();
    Doomed(const Doomed&) = delete;
    Doomed& operator=(const Doomed&) = delete;
    std::vector<std::string> paths;
  };

  static Identity identity_of(int fd) noexcept;
  std::filesystem::path path_of(const NarKey& key, const FileInfo& info) const;
  void load();
  void claim_directory();
  void reclaim_directory();
  std::string temporary_path();
  void forget(const NarKey& key, const FileInfo& info, bool remove_file);
  bool evict_one(Clock::time_point used_before);
  void reserve(std::uint64_t bytes, std::uint64_t file_size, Clock::time_point used_before);
  void release(std::uint64_t bytes);
  // With the lock held:
  void insert(const NarKey& key, Entry entry, Doomed& doomed);
  void drop(Entries::iterator entry);
  void doom(const std::filesystem::path& file, Doomed& doomed);
  bool evict_one(Clock::time_point used_before, Doomed& doomed);
  void use(Entry& entry, int fd);

  const std::filesystem::path directory_;
  const std::uint64_t limit_;
  std::atomic<std::uint64_t> generation_{1};
  std::atomic<std::uint64_t> temporary_names_{0};

  mutable std::mutex mutex_;
  UniqueFd claim_;  // holds the lock that excludes other processes
  Entries entries_;
  std::list<NarKey> order_;    // least recently used first
  std::uint64_t bytes_ = 0;    // of the entries
  std::uint64_t growing_ = 0;  // of files being written
  Statistics counts_;
};

// A file being written. The destructor removes it unless it was committed.
class NarCache::Writer {
 public:
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // Throws NarCacheError.
  void append(std::string_view bytes);
  // The file can be read up to what has been appended.
  const std::shared_ptr<const UniqueFd>& file() const noexcept { return file_; }
  std::uint64_t size() const noexcept { return size_; }
  // Replaces the key, for a file whose own hash is its key.
  void set_key(const NarKey& key) { key_ = key; }
  // Makes the file the entry for its key. Without a flush it may be damaged after a power failure,
  // which is found out before it is used, or be lost. Throws NarCacheError.
  enum class Flush : std::uint8_t { no, yes };
  void commit(const nix::Sha256& file_hash, Flush flush = Flush::yes);

 private:
  friend class NarCache;
  Writer(NarCache& cache, const NarKey& key, std::string path, UniqueFd fd,
         Clock::time_point keep_used_since);

  NarCache& cache_;
  NarKey key_;
  std::string path_;
  std::shared_ptr<const UniqueFd> file_;
  Clock::time_point keep_used_since_;
  std::uint64_t size_ = 0;
};

}  // namespace nixbuild::narcache
