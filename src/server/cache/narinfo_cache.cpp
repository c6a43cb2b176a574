#include "server/cache/narinfo_cache.hpp"

#include <functional>
#include <iterator>
#include <utility>

namespace nixbuild::cache {
namespace {

std::size_t size_of(const nix::PathInfo& info) {
  std::size_t size = sizeof(info) + info.path.base_name().size() + info.content_address.size();
  for (const auto& reference : info.references) {
    size += sizeof(reference) + reference.base_name().size();
  }
  for (const auto& signature : info.signatures)
    size += sizeof(signature) + signature.size();
  return size;
}

// The approximate size of an entry, including the overhead of allocator and containers.
std::size_t size_of(const RenderedNarinfo& rendered) {
  constexpr std::size_t overhead = 512;
  return overhead + rendered.text->size() + size_of(rendered.registered) +
         size_of(rendered.narinfo.info);
}

}  // namespace

NarinfoCache::NarinfoCache(std::size_t limit) : part_limit_(limit / part_count) {}

NarinfoCache::Part& NarinfoCache::part_of(std::string_view hash_part) {
  return parts_[std::hash<std::string_view>{}(hash_part) % part_count];
}

NarinfoCache::Found NarinfoCache::find(std::string_view hash_part, const NarinfoStamp& stamp) {
  Part& part = part_of(hash_part);
  const std::lock_guard lock(part.mutex);
  const auto found = part.index.find(hash_part);
  if (found == part.index.end()) return {};
  part.items.splice(part.items.end(), part.items, found->second);
  const bool current = found->second->stamp == stamp;
  if (current) ++part.hits;
  return {found->second->entry, current};
}

NarinfoCache::Entry NarinfoCache::find_any(std::string_view hash_part) {
  return find(hash_part, {}).entry;
}

void NarinfoCache::put(std::string_view hash_part, Entry entry, const NarinfoStamp& stamp) {
  Part& part = part_of(hash_part);
  const std::lock_guard lock(part.mutex);
  if (const auto old = part.index.find(hash_part); old != part.index.end()) {
    if (old->second->entry == entry) {
      old->second->stamp = stamp;
      return;
    }
    remove(part, old->second);
  }
  const std::size_t bytes = size_of(*entry);
  part.items.push_back({std::string(hash_part), std::move(entry), stamp, bytes});
  const auto item = std::prev(part.items.end());
  part.index.emplace(item->hash_part, item);
  part.bytes += bytes;
  while (part.bytes > part_limit_ && part.items.size() > 1)
    remove(part, part.items.begin());
}

void NarinfoCache::erase(std::string_view hash_part) {
  Part& part = part_of(hash_part);
  const std::lock_guard lock(part.mutex);
  if (const auto found = part.index.find(hash_part); found != part.index.end()) {
    remove(part, found->second);
  }
}

void NarinfoCache::remove(Part& part, Items::iterator item) {
  part.index.erase(item->hash_part);
  part.bytes -= item->bytes;
  part.items.erase(item);
}

NarinfoCache::Statistics NarinfoCache::statistics() const {
  Statistics sum;
  for (const Part& part : parts_) {
    const std::lock_guard lock(part.mutex);
    sum.hits += part.hits;
    sum.entries += part.items.size();
    sum.bytes += part.bytes;
  }
  return sum;
}

}  // namespace nixbuild::cache
