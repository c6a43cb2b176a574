#include "server/builder/warm.hpp"

#include <fmt/format.h>

#include "common/base/error.hpp"
#include "common/net/http_client.hpp"

namespace nixbuild::builder {
namespace {

// Ample, because serve-cache answers before it begins to compress.
constexpr std::chrono::seconds timeout{5};

}  // namespace

bool warm_cache(const std::filesystem::path& control_socket,
                const std::vector<std::string>& store_paths) {
  net::HttpOptions options;
  options.server = net::parse_server_address("unix:" + control_socket.string());
  options.service = "serve-cache";
  options.unit = "nixbuild-cache";
  options.total_timeout = timeout;
  std::string body;
  for (const std::string& path : store_paths)
    body += path + "\n";
  try {
    const net::HttpResponse response =
        net::HttpClient(options).post("/warm", body, {{"Content-Type", "text/plain"}});
    if (response.status < 200 || response.status >= 300) {
      net::throw_refused(options, "POST /warm", response);
    }
  } catch (const net::UnreachableError& error) {
    if (error.was_connected()) throw;
    return false;
  }
  return true;
}

}  // namespace nixbuild::builder
