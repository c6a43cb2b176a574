// What upstreams have said of paths, kept in memory: bounded, least recently used out.
#pragma once

#include <array>
#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "common/nix/store_path.hpp"
#include "server/http/response.hpp"
#include "server/proxy/upstream.hpp"
#include "server/proxy/upstream_narinfo.hpp"

namespace nixbuild::proxy {

// A narinfo and the upstream that it is from.
struct Found {
  Upstream* upstream = nullptr;
  UpstreamNarinfo narinfo;
  http::SharedText text;  // for clients
  std::string etag;       // the upstream's, or empty
  // Of its file as it was received, if the narinfo does not name it.
  std::optional<nix::Sha256> measured_hash;

  // Its file's hash, if it is known.
  std::optional<nix::Sha256> file_hash() const;
};
using FoundPtr = std::shared_ptr<const Found>;

class NarinfoMemory {
 public:
  struct Entry {
    FoundPtr found;  // null: the upstream does not have the path
    TimePoint valid_until;
  };

  explicit NarinfoMemory(std::size_t limit) : limit_(limit) {}

  // What that upstream last said of the path, however long ago; null if nothing is known.
  const Entry* find(const Upstream& upstream, std::string_view hash_part);
  void put(const Upstream& upstream, std::string_view hash_part, Entry entry);

  std::size_t entries() const noexcept { return index_.size(); }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  struct Key {
    const Upstream* upstream = nullptr;
    std::array<char, nix::hash_part_length> hash{};
    bool operator==(const Key&) const = default;
  };
  struct HashOfKey {
    std::size_t operator()(const Key& key) const noexcept;
  };
  struct Item {
    Key key;
    Entry entry;
    std::size_t cost = 0;  // bytes
  };

  static Key key_of(const Upstream& upstream, std::string_view hash_part);

  const std::size_t limit_;
  std::size_t bytes_ = 0;
  std::list<Item> items_;  // the most recently used first
  std::unordered_map<Key, std::list<Item>::iterator, HashOfKey> index_;
};

}  // namespace nixbuild::proxy
