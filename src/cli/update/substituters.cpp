#include "cli/update/substituters.hpp"

#include <future>

#include "common/base/error.hpp"
#include "common/net/http_client.hpp"

namespace nixbuild::cli {
namespace {

bool answers(const std::string& url, std::chrono::milliseconds patience) {
  try {
    net::HttpOptions options;
    options.server = net::parse_server_address(url.substr(0, url.find('?')), net::cache_port);
    options.connect_timeout = patience;
    options.total_timeout = patience;
    return net::HttpClient(std::move(options)).get("/nix-cache-info").status == 200;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

bool is_own_cache(std::string_view url) {
  return url.starts_with("http://");
}

std::vector<std::string> silent_caches(const std::vector<std::string>& substituters,
                                       std::chrono::milliseconds patience) {
  std::vector<std::pair<std::string, std::future<bool>>> asked;
  for (const std::string& url : substituters) {
    if (!is_own_cache(url)) continue;
    asked.emplace_back(url, std::async(std::launch::async, answers, url, patience));
  }
  std::vector<std::string> silent;
  for (auto& [url, answer] : asked) {
    if (!answer.get()) silent.push_back(url);
  }
  return silent;
}

}  // namespace nixbuild::cli
