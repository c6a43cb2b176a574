#include "server/narcache/nar_cache.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "common/base/files.hpp"
#include "common/base/log.hpp"

namespace nixbuild::narcache {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view temporary_prefix = "tmp-";
constexpr std::size_t hash_length = 52;  // of a SHA-256 in base-32
// A file's modification time shows the order of use to the next process; it need not be exact.
constexpr std::chrono::hours touch_interval{1};
constexpr NarCache::Clock::time_point any_time = NarCache::Clock::time_point::max();

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

std::string reason(int error_number) {
  return std::generic_category().message(error_number);
}

std::string_view suffix_of(compress::Compression compression) {
  return compression == compress::Compression::none ? "file" : compress::nar_suffix(compression);
}

std::string file_name(const NarKey& key, const NarCache::FileInfo& info) {
  const std::string tag = key.recipe.library == 0 ? "" : compress::tag_of(key.recipe) + '-';
  return fmt::format("{}-{}{}-{}.{}", key.nar_hash.base32(), tag, info.hash.base32(), info.size,
                     suffix_of(key.recipe.compression));
}

std::optional<std::pair<NarKey, NarCache::FileInfo>> parse_file_name(std::string_view name) {
  NarKey key;
  NarCache::FileInfo info;
  const std::size_t dot = name.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view suffix = name.substr(dot + 1);
  std::vector<std::string_view> parts;
  for (std::string_view rest = name.substr(0, dot);;) {
    const std::size_t dash = rest.find('-');
    parts.push_back(rest.substr(0, dash));
    if (dash == std::string_view::npos) break;
    rest.remove_prefix(dash + 1);
  }
  if (parts.size() == 4) {
    const auto recipe = compress::parse_tag(parts[1]);
    if (!recipe) return std::nullopt;
    key.recipe = *recipe;
    parts.erase(parts.begin() + 1);
  } else {
    using compress::Compression;
    for (const Compression compression : {Compression::none, Compression::xz, Compression::zstd}) {
      if (suffix == suffix_of(compression)) key.recipe.compression = compression;
    }
  }
  if (parts.size() != 3 || suffix != suffix_of(key.recipe.compression)) return std::nullopt;
  if (parts[0].size() != hash_length || parts[1].size() != hash_length) return std::nullopt;
  const auto nar_hash = nix::Sha256::parse(fmt::format("sha256:{}", parts[0]));
  const auto file_hash = nix::Sha256::parse(fmt::format("sha256:{}", parts[1]));
  const std::string_view size = parts[2];
  const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), info.size);
  if (!nar_hash || !file_hash || error != std::errc{} || end != size.data() + size.size()) {
    return std::nullopt;
  }
  key.nar_hash = *nar_hash;
  info.hash = *file_hash;
  return std::pair(key, info);
}

// Whether the file's content matches its name.
bool content_matches(int fd, const NarCache::FileInfo& info) {
  nix::Sha256Hasher hasher;
  std::vector<std::uint8_t> buffer(256 * 1024);
  std::uint64_t position = 0;
  for (;;) {
    const ssize_t n = ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(position));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    if (n == 0) break;
    position += static_cast<std::uint64_t>(n);
    if (position > info.size) return false;
    hasher.update(std::span(buffer.data(), static_cast<std::size_t>(n)));
  }
  return position == info.size && hasher.finish() == info.hash;
}

}  // namespace

NarCache::NarCache(fs::path directory, std::uint64_t limit)
    : directory_(std::move(directory)), limit_(limit) {
  if (limit_ == 0) return;
  try {
    std::error_code error;
    fs::create_directories(directory_, error);
    if (error) throw NarCacheError(fmt::format("creating it: {}", error.message()));
    claim_directory();
    load();
  } catch (const NarCacheError& error) {
    log::warn("NAR cache {}: {}; no file is kept", directory_.string(), error.what());
  }
}

// The lock is on the directory itself, which also works if it is read-only.
void NarCache::claim_directory() {
  UniqueFd fd(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throw NarCacheError(fmt::format("opening it: {}", reason(errno)));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      throw Error(
          fmt::format("NAR cache {}: another server uses it; stop that one or give this one a "
                      "directory of its own",
                      directory_.string()));
    }
    throw NarCacheError(fmt::format("locking it: {}", reason(errno)));
  }
  claim_ = std::move(fd);
}

// Takes over the files of an earlier process: complete files become entries, in the order of their
// last use; temporary files do not.
void NarCache::load() {
  struct Found {
    NarKey key;
    FileInfo info;
    Clock::time_point used;
  };
  std::vector<Found> found;
  std::error_code error;
  for (fs::directory_iterator item(directory_, error), end; !error && item != end;
       item.increment(error)) {
    const std::string name = item->path().filename().string();
    if (name.starts_with(temporary_prefix)) {
      ::unlink(item->path().c_str());
      continue;
    }
    const auto parsed = parse_file_name(name);
    struct stat status {};
    if (!parsed || ::lstat(item->path().c_str(), &status) != 0 || !S_ISREG(status.st_mode)) {
      log::warn("NAR cache: ignoring the unknown file {}", item->path().string());
      continue;
    }
    if (static_cast<std::uint64_t>(status.st_size) != parsed->second.size) {
      log::warn("NAR cache: {} has {} bytes instead of {}, removed", item->path().string(),
                status.st_size, parsed->second.size);
      ::unlink(item->path().c_str());
      continue;
    }
    const std::chrono::nanoseconds modified(nanoseconds(status.st_mtim));
    found.push_back({parsed->first, parsed->second, Clock::time_point(modified)});
  }
  if (error) throw NarCacheError(fmt::format("reading it: {}", error.message()));
  std::sort(found.begin(), found.end(),
            [](const Found& a, const Found& b) { return a.used < b.used; });
  Doomed doomed;
  const std::lock_guard lock(mutex_);
  for (const Found& file : found) {
    Entry entry;
    entry.info = file.info;
    entry.used = entry.touched = file.used;
    insert(file.key, std::move(entry), doomed);
  }
  while (bytes_ > limit_ && evict_one(any_time, doomed)) {
  }
}

NarCache::Doomed::~Doomed() {
  for (const std::string& path : paths)
    ::unlink(path.c_str());
}

NarCache::Identity NarCache::identity_of(int fd) noexcept {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return {};
  return {status.st_dev, status.st_ino, status.st_size, nanoseconds(status.st_mtim),
          nanoseconds(status.st_ctim)};
}

fs::path NarCache::path_of(const NarKey& key, const FileInfo& info) const {
  return directory_ / file_name(key, info);
}

std::string NarCache::temporary_path() {
  const std::uint64_t number = temporary_names_.fetch_add(1, std::memory_order_relaxed);
  return (directory_ / fmt::format("{}{}-{}", temporary_prefix, ::getpid(), number)).string();
}

// Replaces an older entry of the key, and removes its file if it is a different one.
void NarCache::insert(const NarKey& key, Entry entry, Doomed& doomed) {
  if (const auto old = entries_.find(key); old != entries_.end()) {
    if (old->second.info != entry.info) doom(path_of(key, old->second.info), doomed);
    drop(old);
  }
  bytes_ += entry.info.size;
  entry.order = order_.insert(order_.end(), key);
  entries_.emplace(key, std::move(entry));
  generation_.fetch_add(1, std::memory_order_acq_rel);
}

// The caller must remove the file.
void NarCache::drop(Entries::iterator entry) {
  bytes_ -= entry->second.info.size;
  order_.erase(entry->second.order);
  entries_.erase(entry);
  generation_.fetch_add(1, std::memory_order_acq_rel);
}

void NarCache::doom(const fs::path& file, Doomed& doomed) {
  std::string name = temporary_path();
  if (::rename(file.c_str(), name.c_str()) == 0) doomed.paths.push_back(std::move(name));
}

void NarCache::forget(const NarKey& key, const FileInfo& info, bool remove_file) {
  Doomed doomed;
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(key);
  if (entry == entries_.end() || entry->second.info != info) return;
  if (remove_file) doom(path_of(key, info), doomed);
  drop(entry);
}

// False if nothing may be evicted.
bool NarCache::evict_one(Clock::time_point used_before, Doomed& doomed) {
  if (order_.empty()) return false;
  const auto entry = entries_.find(order_.front());
  if (entry->second.used >= used_before) return false;
  doom(path_of(entry->first, entry->second.info), doomed);
  drop(entry);
  ++counts_.evictions;
  return true;
}

bool NarCache::evict_one(Clock::time_point used_before) {
  Doomed doomed;
  const std::lock_guard lock(mutex_);
  return evict_one(used_before, doomed);
}

// `file_size`: the current size of the file.
void NarCache::reserve(std::uint64_t bytes, std::uint64_t file_size,
                       Clock::time_point used_before) {
  if (file_size + bytes > limit_) {
    throw NarTooLarge(
        fmt::format("a file of more than {} bytes does not fit into {}", file_size, limit_));
  }
  Doomed doomed;
  const std::lock_guard lock(mutex_);
  while (bytes_ + growing_ + bytes > limit_) {
    if (!evict_one(used_before, doomed)) {
      throw NarCacheFull(fmt::format("its {} bytes are taken by files in use", limit_));
    }
  }
  growing_ += bytes;
}

void NarCache::release(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  growing_ -= bytes;
}

std::optional<NarCache::FileInfo> NarCache::find(const NarKey& key) const {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(key);
  if (entry == entries_.end()) return std::nullopt;
  return entry->second.info;
}

std::optional<NarCache::Kept> NarCache::find_any(const NarKey& preferred) const {
  const std::lock_guard lock(mutex_);
  if (const auto entry = entries_.find(preferred); entry != entries_.end()) {
    return Kept{entry->first, entry->second.info};
  }
  // Keys of the same NAR and compression are adjacent, an unknown recipe first.
  const NarKey lowest{preferred.nar_hash, {preferred.recipe.compression, 0, 0}};
  std::optional<Kept> best;
  for (auto entry = entries_.lower_bound(lowest);
       entry != entries_.end() && entry->first.nar_hash == preferred.nar_hash &&
       entry->first.recipe.compression == preferred.recipe.compression;
       ++entry) {
    best = Kept{entry->first, entry->second.info};
  }
  return best;
}

void NarCache::use(Entry& entry, int fd) {
  entry.used = Clock::now();
  order_.splice(order_.end(), order_, entry.order);
  if (entry.used - entry.touched < touch_interval) return;
  entry.touched = entry.used;
  const timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
  if (::futimens(fd, times) == 0) entry.trusted = identity_of(fd);
}

NarCache::Opened NarCache::open(const NarKey& key) {
  FileInfo info;
  {
    const std::lock_guard lock(mutex_);
    const auto entry = entries_.find(key);
    if (entry == entries_.end()) {
      ++counts_.misses;
      return {};
    }
    info = entry->second.info;
  }
  UniqueFd fd(::open(path_of(key, info).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) {
    const int error = errno;
    // Running out of descriptors or memory says nothing about the file.
    if (error == EMFILE || error == ENFILE || error == ENOMEM) {
      throw SystemError(error, fmt::format("opening {}", path_of(key, info).string()));
    }
    log::warn("NAR cache: {} cannot be opened ({})", path_of(key, info).string(), reason(error));
    forget(key, info, false);
    const std::lock_guard lock(mutex_);
    ++counts_.misses;
    return {};
  }
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(key);
  if (entry == entries_.end() || entry->second.info != info) {
    ++counts_.misses;
    return {};
  }
  if (entry->second.trusted != identity_of(fd.get())) {
    entry->second.trusted.reset();
    return {State::unverified, {}};
  }
  ++counts_.hits;
  use(entry->second, fd.get());
  return {State::trusted, {std::make_shared<const UniqueFd>(std::move(fd)), info}};
}

void NarCache::verify(const NarKey& key) {
  const auto info = find(key);
  if (!info) return;
  UniqueFd fd(::open(path_of(key, *info).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) {
    forget(key, *info, false);
    return;
  }
  const Identity before = identity_of(fd.get());
  const bool matches = content_matches(fd.get(), *info);
  if (!matches || identity_of(fd.get()) != before) {
    log::warn("NAR cache: {} is damaged, removed", path_of(key, *info).string());
    forget(key, *info, true);
    const std::lock_guard lock(mutex_);
    ++counts_.rejected;
    return;
  }
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(key);
  if (entry != entries_.end() && entry->second.info == *info) entry->second.trusted = before;
}

void NarCache::remove(const NarKey& key) {
  if (const auto info = find(key)) forget(key, *info, true);
}

// The directory, and so every file in it, was removed while the server was running.
void NarCache::reclaim_directory() {
  std::error_code error;
  fs::create_directories(directory_, error);
  if (error) throw NarCacheError(fmt::format("creating it anew: {}", error.message()));
  const std::lock_guard lock(mutex_);
  claim_.reset();
  try {
    claim_directory();
  } catch (const Error& taken) {
    throw NarCacheError(taken.what());
  }
}

std::unique_ptr<NarCache::Writer> NarCache::create(const NarKey& key,
                                                   Clock::time_point keep_used_since) {
  if (limit_ == 0) throw NarCacheError("nothing is kept");
  const std::string path = temporary_path();
  bool reclaimed = false;
  for (;;) {
    UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (fd) {
      return std::unique_ptr<Writer>(new Writer(*this, key, path, std::move(fd), keep_used_since));
    }
    const int error = errno;
    if (error == ENOENT && !std::exchange(reclaimed, true)) {
      reclaim_directory();
    } else if ((error != ENOSPC && error != EDQUOT) || !evict_one(keep_used_since)) {
      throw NarCacheError(fmt::format("creating {}: {}", path, reason(error)));
    }
  }
}

NarCache::Statistics NarCache::statistics() const {
  const std::lock_guard lock(mutex_);
  Statistics result = counts_;
  result.entries = entries_.size();
  result.bytes = bytes_;
  return result;
}

NarCache::Writer::Writer(NarCache& cache, const NarKey& key, std::string path, UniqueFd fd,
                         Clock::time_point keep_used_since)
    : cache_(cache),
      key_(key),
      path_(std::move(path)),
      file_(std::make_shared<const UniqueFd>(std::move(fd))),
      keep_used_since_(keep_used_since) {}

NarCache::Writer::~Writer() {
  if (!path_.empty()) ::unlink(path_.c_str());
  cache_.release(size_);
}

void NarCache::Writer::append(std::string_view bytes) {
  cache_.reserve(bytes.size(), size_, keep_used_since_);
  size_ += bytes.size();
  std::uint64_t position = size_ - bytes.size();
  while (!bytes.empty()) {
    const ssize_t n =
        ::pwrite(file_->get(), bytes.data(), bytes.size(), static_cast<off_t>(position));
    if (n < 0) {
      const int error = errno;
      if (error == EINTR) continue;
      if ((error == ENOSPC || error == EDQUOT) && cache_.evict_one(keep_used_since_)) continue;
      throw NarCacheError(fmt::format("writing {}: {}", path_, reason(error)));
    }
    bytes.remove_prefix(static_cast<std::size_t>(n));
    position += static_cast<std::uint64_t>(n);
  }
}

void NarCache::Writer::commit(const nix::Sha256& file_hash, Flush flush) {
  const FileInfo info{file_hash, size_};
  const fs::path path = cache_.path_of(key_, info);
  if (flush == Flush::yes && ::fsync(file_->get()) != 0) {
    throw NarCacheError(fmt::format("flushing {}: {}", path_, reason(errno)));
  }
  {
    Doomed doomed;
    const std::lock_guard lock(cache_.mutex_);
    if (::rename(path_.c_str(), path.c_str()) != 0) {
      throw NarCacheError(fmt::format("renaming {}: {}", path_, reason(errno)));
    }
    path_.clear();
    Entry entry;
    entry.info = info;
    entry.trusted = identity_of(file_->get());
    entry.used = entry.touched = Clock::now();
    cache_.growing_ -= std::exchange(size_, 0);
    cache_.insert(key_, std::move(entry), doomed);
  }
  if (flush == Flush::no) return;
  // Without this, the file may be missing after a power failure, but never wrong, so ignore
  // failures.
  try {
    sync_directory(cache_.directory_);
  } catch (const SystemError& error) {
    log::debug("NAR cache: {}", error.what());
  }
}

}  // namespace nixbuild::narcache
