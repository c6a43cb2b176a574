#include "cli/machine/local_proxy.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <utility>
#include <variant>

#include "common/base/error.hpp"
#include "common/base/time.hpp"
#include "common/net/http_client.hpp"
#include "common/net/listen_address.hpp"
#include "common/net/server_address.hpp"

namespace nixbuild::cli {
namespace {

constexpr std::chrono::milliseconds proxy_timeout{3'000};
constexpr std::uint16_t proxy_port = 5001;
constexpr std::size_t status_limit = std::size_t{4} << 20;  // bytes

}  // namespace

ProxyStatus parse_proxy_status(const std::string& text) {
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    ProxyStatus status;
    status.version = json.at("version").get<std::string>();
    for (const nlohmann::json& item : json.at("upstreams")) {
      status.upstreams.push_back(
          {item.at("url").get<std::string>(), item.at("state").get<std::string>(),
           parse_time(item.at("since").get<std::string>()),
           item.at("last_error").get<std::string>(), item.at("narinfos_found").get<std::uint64_t>(),
           item.at("nar_bytes").get<std::uint64_t>()});
    }
    for (const nlohmann::json& item : json.at("downloads")) {
      ProxyStatus::Download download{item.at("path").get<std::string>(),
                                     item.at("upstream").get<std::string>(),
                                     item.at("bytes").get<std::uint64_t>(),
                                     {}};
      if (!item.at("size").is_null()) download.size = item.at("size").get<std::uint64_t>();
      status.downloads.push_back(std::move(download));
    }
    const nlohmann::json& narinfos = json.at("narinfos");
    status.from_memory = narinfos.at("from_memory").get<std::uint64_t>();
    status.from_disk = narinfos.at("from_disk").get<std::uint64_t>();
    status.from_upstreams = narinfos.at("from_upstreams").get<std::uint64_t>();
    status.absent = narinfos.at("absent").get<std::uint64_t>();
    status.nars_sent = json.at("nars").at("sent").get<std::uint64_t>();
    status.nars_from_disk = json.at("nars").at("from_disk").get<std::uint64_t>();
    status.nars_continued = json.at("nars").at("continued").get<std::uint64_t>();
    const nlohmann::json& disk = json.at("disk");
    status.disk_limit = disk.at("limit").get<std::uint64_t>();
    status.disk_bytes = disk.at("bytes").get<std::uint64_t>();
    status.disk_nars = disk.at("nars").get<std::uint64_t>();
    return status;
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(error.what());
  }
}

std::string proxy_address(const config::ProxyOptions& options) {
  for (const std::string& text : options.listen) {
    const net::ListenAddress address = net::parse_listen_address(text, options.tailscale_interface);
    if (const auto* tcp = std::get_if<net::TcpAddress>(&address);
        tcp != nullptr && tcp->port != 0) {
      net::ServerAddress server;
      server.host = tcp->host == "0.0.0.0" ? "127.0.0.1" : tcp->host == "::" ? "::1" : tcp->host;
      server.port = tcp->port;
      return server.base_url();
    }
    if (std::holds_alternative<net::UnixAddress>(address)) return text;
  }
  throw UsageError(
      "[proxy] listen names no address with a port on this machine, so there is no proxy to ask");
}

std::string ask_proxy(const std::string& address) {
  net::HttpOptions options;
  options.server = net::parse_server_address(address, proxy_port);
  options.service = "serve-proxy";
  options.unit = "nixbuild-proxy";
  options.usual_port = proxy_port;
  options.connect_timeout = proxy_timeout;
  options.total_timeout = proxy_timeout;
  options.body_limit = status_limit;
  net::HttpClient client(options);
  net::HttpResponse response = client.get("/health");
  if (response.status != 200) net::throw_refused(options, "GET /health", response);
  return std::move(response.body);
}

bool is_proxy(const std::string& url, const config::ProxyOptions& options) {
  try {
    const net::ServerAddress address = net::parse_server_address(url);
    if (!address.is_local()) return false;
    return std::any_of(options.listen.begin(), options.listen.end(),
                       [&](const std::string& listen) {
                         const net::ListenAddress parsed =
                             net::parse_listen_address(listen, options.tailscale_interface);
                         const auto* tcp = std::get_if<net::TcpAddress>(&parsed);
                         return tcp != nullptr && tcp->port == address.port;
                       });
  } catch (const UsageError&) {
    return false;  // such as s3://
  }
}

}  // namespace nixbuild::cli
