#include "server/api/rate_limit.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>

namespace nixbuild::api {
namespace {

constexpr std::size_t most_keys = 10'000;

}  // namespace

std::optional<std::chrono::seconds> RateLimit::refuse(const std::string& key,
                                                      Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (due_.size() >= most_keys && !due_.contains(key)) {
    std::erase_if(due_, [&](const auto& entry) { return entry.second <= now; });
    // Limits memory: with too many peers at once, forget all of them.
    if (due_.size() >= most_keys) due_.clear();
  }
  Clock::time_point& due = due_.try_emplace(key, now).first->second;
  due = std::max(due, now);
  const auto too_early = due + interval_ - now - allowance_;
  if (too_early > Clock::duration::zero()) {
    return std::chrono::ceil<std::chrono::seconds>(too_early);
  }
  due += interval_;
  return std::nullopt;
}

std::string peer_key(std::string_view address) {
  std::array<unsigned char, 16> bytes{};
  std::string text(address.substr(0, address.find('%')));
  if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) != 1) return text;
  if (text.starts_with("::ffff:")) return text.substr(7);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size() / 2};
}

}  // namespace nixbuild::api
