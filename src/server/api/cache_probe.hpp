// Checks whether the binary cache next to this API works, and reads its information.
#pragma once

#include <chrono>
#include <mutex>
#include <string>
#include <vector>

#include "common/net/http_client.hpp"

namespace nixbuild::api {

class CacheProbe {
 public:
  struct Result {
    bool running = false;
    std::string problem;                   // why it does not work
    std::vector<std::string> public_keys;  // from its /nix-cache-info
  };

  // Throws UsageError if `url` is not a valid URL.
  explicit CacheProbe(std::string url);

  // At most 5 s old. Blocks for at most 1 s; thread-safe.
  Result ask();
  const net::ServerAddress& address() const noexcept { return address_; }

 private:
  const net::ServerAddress address_;
  std::mutex mutex_;
  net::HttpClient client_;
  Result result_;
  std::chrono::steady_clock::time_point asked_{};
  bool has_asked_ = false;
};

}  // namespace nixbuild::api
