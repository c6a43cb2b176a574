#include "server/api/cache_probe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "common/base/error.hpp"

namespace nixbuild::api {
namespace {

constexpr std::chrono::milliseconds probe_timeout{1000};
constexpr std::chrono::seconds validity{5};

net::HttpOptions options_for(const net::ServerAddress& address) {
  net::HttpOptions options;
  options.server = address;
  options.service = "serve-cache";
  options.unit = "nixbuild-cache";
  options.usual_port = net::cache_port;
  options.connect_timeout = probe_timeout;
  options.total_timeout = probe_timeout;
  options.body_limit = 64 * 1024;
  return options;
}

std::vector<std::string> public_keys_of(std::string_view cache_info) {
  constexpr std::string_view field = "PublicKey: ";
  std::vector<std::string> keys;
  while (!cache_info.empty()) {
    const std::string_view line = cache_info.substr(0, cache_info.find('\n'));
    if (line.starts_with(field)) keys.emplace_back(line.substr(field.size()));
    cache_info.remove_prefix(std::min(cache_info.size(), line.size() + 1));
  }
  return keys;
}

}  // namespace

CacheProbe::CacheProbe(std::string url)
    : address_(net::parse_server_address(url, net::cache_port)), client_(options_for(address_)) {}

CacheProbe::Result CacheProbe::ask() {
  const std::lock_guard lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  if (has_asked_ && now - asked_ < validity) return result_;
  result_ = {};
  try {
    const net::HttpResponse response = client_.get("/nix-cache-info");
    result_.running = response.status == 200 && response.body.starts_with("StoreDir:");
    if (result_.running) {
      result_.public_keys = public_keys_of(response.body);
    } else {
      result_.problem = fmt::format("what answers at {} is no binary cache (status {})",
                                    address_.host_port(), response.status);
    }
  } catch (const Error& error) {
    result_.problem = fmt::format("the binary cache: {}", error.what());
  }
  has_asked_ = true;
  asked_ = std::chrono::steady_clock::now();
  return result_;
}

}  // namespace nixbuild::api
