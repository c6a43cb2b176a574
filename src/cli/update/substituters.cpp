#include "cli/update/substituters.hpp"

#include <future>

#include "common/base/error.hpp"
#include "common/net/http_client.hpp"

namespace nixbuild::cli {
namespace {

// Any response counts: if a password is required, Nix may have one in its netrc.
bool answers(const std::string& url, std::chrono::milliseconds timeout) {
  try {
    net::HttpOptions options;
    options.server = net::parse_server_address(url.substr(0, url.find('?')), net::cache_port);
    options.connect_timeout = timeout;
    options.total_timeout = timeout;
    static_cast<void>(net::HttpClient(std::move(options)).get("/nix-cache-info"));
    return true;
  } catch (const net::UnreachableError&) {
    return false;
  } catch (const Error&) {
    return true;  // leave URLs that cannot be tried here, such as http://USER:PASSWORD@HOST, to Nix
  }
}

}  // namespace

bool is_own_cache(std::string_view url) {
  return url.starts_with("http://");
}

std::vector<std::string> silent_caches(const std::vector<std::string>& substituters,
                                       std::chrono::milliseconds timeout) {
  std::vector<std::pair<std::string, std::future<bool>>> asked;
  for (const std::string& url : substituters) {
    if (!is_own_cache(url)) continue;
    asked.emplace_back(url, std::async(std::launch::async, answers, url, timeout));
  }
  std::vector<std::string> silent;
  for (auto& [url, answer] : asked) {
    if (!answer.get()) silent.push_back(url);
  }
  return silent;
}

}  // namespace nixbuild::cli
