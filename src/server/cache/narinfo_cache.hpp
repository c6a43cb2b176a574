// Rendered narinfos in memory: signing one costs more than the rest of a request.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "common/nix/narinfo.hpp"
#include "server/http/response.hpp"

namespace nixbuild::cache {

// The versions of a narinfo's sources. If all are unchanged, the narinfo is still current.
struct NarinfoStamp {
  std::uint64_t store = 0;  // StoreDatabase::generation
  std::uint64_t files = 0;  // narcache::NarCache::generation
  std::uint64_t keys = 0;   // SigningKeys::generation

  friend bool operator==(const NarinfoStamp&, const NarinfoStamp&) = default;
};

struct RenderedNarinfo {
  nix::PathInfo registered;  // as in the database, with its own signatures
  nix::NarInfo narinfo;      // as sent
  std::uint64_t keys = 0;    // SigningKeys::generation that signed it
  http::SharedText text;
  std::string etag;
};

// Thread-safe. Split into parts with separate locks, so that threads rarely contend.
class NarinfoCache {
 public:
  using Entry = std::shared_ptr<const RenderedNarinfo>;

  struct Found {
    Entry entry;           // null: none
    bool current = false;  // put or confirmed with this exact stamp
  };

  struct Statistics {
    std::uint64_t hits = 0;  // found and current
    std::uint64_t entries = 0;
    std::uint64_t bytes = 0;
  };

  explicit NarinfoCache(std::size_t limit);  // bytes, for all entries

  Found find(std::string_view hash_part, const NarinfoStamp& stamp);
  // The entry, whatever its stamp.
  Entry find_any(std::string_view hash_part);
  // Also confirms an existing entry with a newer stamp.
  void put(std::string_view hash_part, Entry entry, const NarinfoStamp& stamp);
  void erase(std::string_view hash_part);

  Statistics statistics() const;

 private:
  struct Item {
    std::string hash_part;
    Entry entry;
    NarinfoStamp stamp;
    std::size_t bytes = 0;
  };
  using Items = std::list<Item>;  // least recently used first
  struct Part {
    mutable std::mutex mutex;
    Items items;
    std::unordered_map<std::string_view, Items::iterator> index;  // keys point into items
    std::size_t bytes = 0;
    std::uint64_t hits = 0;
  };

  static constexpr std::size_t part_count = 64;

  Part& part_of(std::string_view hash_part);
  static void remove(Part& part, Items::iterator item);

  const std::size_t part_limit_;
  std::array<Part, part_count> parts_;
};

}  // namespace nixbuild::cache
