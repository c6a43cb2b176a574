#include "server/proxy/narinfo_memory.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <string>

#include "common/net/server_address.hpp"

using namespace nixbuild;
using namespace nixbuild::proxy;

namespace {

std::string hash(unsigned n) {
  return fmt::format("{:032}", n);
}

}  // namespace

TEST_CASE("what each upstream said is kept apart, the least recently used goes first") {
  const nix::StoreDir store_dir;
  const Upstream a(net::parse_server_address("http://a"), store_dir);
  const Upstream b(net::parse_server_address("http://b"), store_dir);
  NarinfoMemory memory(3'000);
  const auto until = [](int n) { return TimePoint(std::chrono::seconds(n)); };
  memory.put(a, hash(1), {nullptr, until(1)});
  CHECK(memory.find(b, hash(1)) == nullptr);
  REQUIRE(memory.find(a, hash(1)) != nullptr);
  CHECK(memory.find(a, hash(1))->valid_until == until(1));
  memory.put(a, hash(1), {nullptr, until(2)});
  CHECK(memory.find(a, hash(1))->valid_until == until(2));
  CHECK(memory.entries() == 1);
  for (unsigned n = 2; n < 100; ++n) {
    memory.put(b, hash(n), {nullptr, until(3)});
    CHECK(memory.find(a, hash(1)) != nullptr);  // used all the time
    CHECK(memory.bytes() <= 3'000);
  }
  CHECK(memory.find(b, hash(2)) == nullptr);
  CHECK(memory.find(b, hash(99)) != nullptr);
}
