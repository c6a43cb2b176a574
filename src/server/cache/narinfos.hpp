// Renders, signs and caches narinfos; the handler of /HASHPART.narinfo.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "common/compress/compression.hpp"
#include "server/cache/narinfo_cache.hpp"
#include "server/cache/signing_keys.hpp"
#include "server/cache/unservable_paths.hpp"
#include "server/http/request.hpp"
#include "server/http/response.hpp"
#include "server/narcache/nar_cache.hpp"
#include "server/store/store_reader.hpp"

namespace nixbuild::cache {

class Narinfos {
 public:
  struct Statistics {
    std::uint64_t hits = 0;    // sent from memory unchanged
    std::uint64_t misses = 0;  // looked up in the database and found
    std::uint64_t absent = 0;
    std::uint64_t from_memory = 0;  // sent from memory because the database was unavailable
    std::uint64_t entries = 0;
    std::uint64_t bytes = 0;
  };

  Narinfos(store::StoreReader& store, const narcache::NarCache& files, const SigningKeys& keys,
           const UnservablePaths& unservable, compress::Recipe advertised,
           std::vector<std::string> skip_signed_by);

  // Answers GET /{hash part}.narinfo.
  http::Reply handle(const http::Request& request, std::string_view hash_part);

  // Replaces the names given to the constructor. Thread-safe.
  void skip_signed_by(std::vector<std::string> key_names);
  // Whether --skip-signed-by applies: an upstream cache has this path.
  bool skipped(const nix::PathInfo& info) const;
  // Throws StoreUnavailable. Null: no such path.
  NarinfoCache::Entry look_up(store::StoreDatabase& database, std::string_view hash_part);
  // What is known from earlier requests for this path, for use while the database is unavailable.
  NarinfoCache::Entry remembered(std::string_view hash_part);

  Statistics statistics() const;

 private:
  // Throws StoreUnavailable. Null: no such path.
  NarinfoCache::Entry look_up(std::string_view hash_part);
  NarinfoCache::Entry render(nix::PathInfo registered, const NarinfoCache::Entry& previous,
                             const NarinfoStamp& stamp) const;
  boost::asio::awaitable<http::Response> answer_later(std::string hash_part, bool json);
  http::Response answer(const NarinfoCache::Entry& entry, bool json);

  store::StoreReader& store_;
  const narcache::NarCache& files_;
  const SigningKeys& keys_;
  const UnservablePaths& unservable_;
  const compress::Recipe advertised_;
  // Old lists are kept, because a thread may be using one; there are few.
  std::mutex skip_mutex_;
  std::deque<std::vector<std::string>> skip_lists_;
  std::atomic<const std::vector<std::string>*> skip_signed_by_{nullptr};
  NarinfoCache cache_;
  std::atomic<std::uint64_t> misses_{0};
  std::atomic<std::uint64_t> absent_{0};
  std::atomic<std::uint64_t> from_memory_{0};
};

}  // namespace nixbuild::cache
