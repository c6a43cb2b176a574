// The NAR cache: compressed NARs as files of one directory, which serve-cache alone owns.
//
// A file is named <NAR hash>-<recipe>-<file hash>-<size>.nar.zst (or .xz), so its name says all
// that a restarted server must know of it; files of older versions have no recipe in their names.
// It is written under a temporary name ("tmp-…"), flushed and renamed. An entry's key has the
// recipe: what another level or library made is another file.
//
// Files of this process that have not been touched since are trusted. Any other, one found at start
// or one whose identity (inode, size, times) is no longer what it was, is read and checked against
// its name once before it is sent. Over the size bound, the least recently used file goes; whoever
// is sending it has it open and goes on.
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

// The cache cannot take a file: disk full, read-only, too small. Whatever was to be kept can still
// be made and sent.
class NarCacheError : public Error {
 public:
  using Error::Error;
};

// The file alone is larger than the whole cache may be.
class NarTooLarge : public NarCacheError {
 public:
  using NarCacheError::NarCacheError;
};

// Only files that must stay could make room.
class NarCacheFull : public NarCacheError {
 public:
  using NarCacheError::NarCacheError;
};

struct NarKey {
  nix::Sha256 nar_hash;
  compress::Recipe recipe;  // its compression is never none

  friend auto operator<=>(const NarKey&, const NarKey&) = default;
};

class NarCache {
 public:
  // What a narinfo says of the file.
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
    OpenFile file;  // when trusted
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

  // `limit` in bytes; 0: nothing is kept. The directory is made where it is absent. A directory
  // that cannot be used is warned of and costs only the keeping; but one that another process uses
  // throws Error.
  NarCache(std::filesystem::path directory, std::uint64_t limit);
  NarCache(const NarCache&) = delete;
  NarCache& operator=(const NarCache&) = delete;

  // From memory.
  std::optional<FileInfo> find(const NarKey& key) const;
  struct Kept {
    NarKey key;
    FileInfo info;
  };
  // The NAR's file of the preferred recipe, else one that another recipe of the same compression
  // made, last one whose recipe is unknown.
  std::optional<Kept> find_any(const NarKey& preferred) const;
  // Opens the entry's file for sending and marks it used.
  Opened open(const NarKey& key);
  // Reads an unverified entry's file to the end: afterwards the entry is trusted, or gone.
  void verify(const NarKey& key);

  // Removes the entry and its file.
  void remove(const NarKey& key);

  // Begins a file, for which files may have to go; those used since `keep_used_since` stay, so that
  // what nobody has asked for yet pushes out nothing that is being used. Throws NarCacheError.
  using Clock = std::chrono::system_clock;
  std::unique_ptr<Writer> create(const NarKey& key,
                                 Clock::time_point keep_used_since = Clock::time_point::max());

  // Changes whenever find() may answer otherwise.
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
    Clock::time_point touched;  // the last use that the file's own time tells
    std::list<NarKey>::iterator order;
  };
  using Entries = std::map<NarKey, Entry>;

  // Files to remove once the lock is released: removing a large one takes its time. They already
  // have temporary names.
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
  UniqueFd claim_;  // holds the lock that keeps other processes away
  Entries entries_;
  std::list<NarKey> order_;    // least recently used first
  std::uint64_t bytes_ = 0;    // of the entries
  std::uint64_t growing_ = 0;  // of files being written
  Statistics counts_;
};

// A file that is being written. Without commit() it is removed.
class NarCache::Writer {
 public:
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // Throws NarCacheError.
  void append(std::string_view bytes);
  // What has been appended can be read from it.
  const std::shared_ptr<const UniqueFd>& file() const noexcept { return file_; }
  std::uint64_t size() const noexcept { return size_; }
  // Flushes the file and makes it the entry of its key. Throws NarCacheError.
  void commit(const nix::Sha256& file_hash);

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
