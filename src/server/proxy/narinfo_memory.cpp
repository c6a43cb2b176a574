#include "server/proxy/narinfo_memory.hpp"

#include <algorithm>
#include <functional>
#include <utility>

namespace nixbuild::proxy {
namespace {

// Of a list's node, an index entry and what they point to.
constexpr std::size_t overhead = 300;

}  // namespace

std::optional<nix::Sha256> Found::file_hash() const {
  const auto expected = expected_hash(narinfo.fields);
  return expected ? expected : measured_hash;
}

std::size_t NarinfoMemory::HashOfKey::operator()(const Key& key) const noexcept {
  const std::string_view text(key.hash.data(), key.hash.size());
  return std::hash<std::string_view>()(text) ^ std::hash<const void*>()(key.upstream);
}

NarinfoMemory::Key NarinfoMemory::key_of(const Upstream& upstream, std::string_view hash_part) {
  Key key;
  key.upstream = &upstream;
  std::copy_n(hash_part.begin(), std::min(hash_part.size(), key.hash.size()), key.hash.begin());
  return key;
}

const NarinfoMemory::Entry* NarinfoMemory::find(const Upstream& upstream,
                                                std::string_view hash_part) {
  const auto found = index_.find(key_of(upstream, hash_part));
  if (found == index_.end()) return nullptr;
  items_.splice(items_.begin(), items_, found->second);
  return &found->second->entry;
}

void NarinfoMemory::put(const Upstream& upstream, std::string_view hash_part, Entry entry) {
  const Key key = key_of(upstream, hash_part);
  std::size_t cost = overhead;
  // The text is there twice over: as it is passed on, and in fields.
  if (entry.found) cost += 3 * entry.found->text->size();
  if (const auto old = index_.find(key); old != index_.end()) {
    bytes_ -= old->second->cost;
    items_.erase(old->second);
    index_.erase(old);
  }
  items_.push_front({key, std::move(entry), cost});
  index_.emplace(key, items_.begin());
  bytes_ += cost;
  while (bytes_ > limit_ && items_.size() > 1) {
    bytes_ -= items_.back().cost;
    index_.erase(items_.back().key);
    items_.pop_back();
  }
}

}  // namespace nixbuild::proxy
