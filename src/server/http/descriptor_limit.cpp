#include "server/http/descriptor_limit.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <cstdint>

namespace nixbuild::http {
namespace {

constexpr std::uint64_t for_each_connection = 2;
// For the database, files being written, directories being walked, and pipes to other programs.
constexpr std::uint64_t for_all_else = 1024;

}  // namespace

std::size_t make_room_for_connections(std::size_t connections) noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return connections;
  const std::uint64_t wanted = connections * for_each_connection + for_all_else;
  if (limit.rlim_cur < wanted) {
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = std::min<rlim_t>(wanted, limit.rlim_max);
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = before;
  }
  if (limit.rlim_cur >= wanted) return connections;
  // If the limit is low, connections get half of it.
  const std::uint64_t most = std::max(
      limit.rlim_cur - std::min<std::uint64_t>(limit.rlim_cur, for_all_else), limit.rlim_cur / 2);
  return std::max<std::size_t>(1, std::min<std::uint64_t>(connections, most / for_each_connection));
}

}  // namespace nixbuild::http
