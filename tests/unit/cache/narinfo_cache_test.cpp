#include "server/cache/narinfo_cache.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <string>

using namespace nixbuild;
using namespace nixbuild::cache;

namespace {

std::string hash_part_of(int number) {
  std::string text(32, '0');
  for (std::size_t i = 31; number > 0; --i, number /= 10) {
    text[i] = static_cast<char>('0' + number % 10);
  }
  return text;
}

NarinfoCache::Entry entry(const std::string& text) {
  const auto path = *nix::StorePath::parse(hash_part_of(0) + "-x");
  const nix::PathInfo info{path, {}, 0, {}, {}, {}, {}};
  return std::make_shared<const RenderedNarinfo>(RenderedNarinfo{
      info, {info, {}, {}, {}, {}}, 0, std::make_shared<const std::string>(text), {}});
}

}  // namespace

TEST_CASE("an entry is current for the stamp that it was put or confirmed with") {
  NarinfoCache cache(1 << 20);
  const NarinfoStamp first{1, 1, 1};
  const auto put = entry("text");
  cache.put(hash_part_of(1), put, first);
  CHECK(cache.find(hash_part_of(1), first).current);
  for (const NarinfoStamp& other :
       {NarinfoStamp{2, 1, 1}, NarinfoStamp{1, 2, 1}, NarinfoStamp{1, 1, 2}}) {
    const auto found = cache.find(hash_part_of(1), other);
    CHECK(found.entry == put);
    CHECK_FALSE(found.current);
    cache.put(hash_part_of(1), put, other);
    CHECK(cache.find(hash_part_of(1), other).current);
  }
  CHECK(cache.find_any(hash_part_of(1)) == put);
  CHECK_FALSE(cache.find_any(hash_part_of(2)));
  cache.erase(hash_part_of(1));
  CHECK_FALSE(cache.find_any(hash_part_of(1)));
  CHECK(cache.statistics().entries == 0);
  CHECK(cache.statistics().bytes == 0);
}

TEST_CASE("memory is bounded, and what is used stays") {
  constexpr std::size_t limit = 1 << 20;
  NarinfoCache cache(limit);
  const std::string text(1000, 'x');
  cache.put(hash_part_of(0), entry(text), {});
  for (int i = 1; i < 10'000; ++i) {
    cache.put(hash_part_of(i), entry(text), {});
    CHECK(cache.find_any(hash_part_of(0)));
  }
  CHECK(cache.statistics().bytes <= limit);
  CHECK(cache.statistics().entries > 100);
  CHECK(cache.find_any(hash_part_of(9'999)));
  CHECK_FALSE(cache.find_any(hash_part_of(1)));
}
