// This machine's proxy (serve-proxy): where it listens, and what it says about itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/config/proxy_options.hpp"
#include "common/protocol/types.hpp"

namespace nixbuild::cli {

struct ProxyStatus {
  struct Upstream {
    std::string url;
    std::string state;  // up, away or unknown
    std::optional<protocol::Time> since;
    std::string last_error;  // empty: none yet
    std::uint64_t narinfos_found = 0;
    std::uint64_t nar_bytes = 0;
  };
  struct Download {
    std::string path;  // base name of the store path
    std::string upstream;
    std::uint64_t bytes = 0;
    std::optional<std::uint64_t> size;  // nothing: unknown
  };

  std::string version;
  std::vector<Upstream> upstreams;
  std::vector<Download> downloads;
  std::uint64_t from_memory = 0;  // narinfos
  std::uint64_t from_disk = 0;
  std::uint64_t from_upstreams = 0;
  std::uint64_t absent = 0;
  std::uint64_t nars_sent = 0;
  std::uint64_t nars_from_disk = 0;
  std::uint64_t nars_continued = 0;
  std::uint64_t disk_limit = 0;  // bytes; 0: nothing is kept on disk
  std::uint64_t disk_bytes = 0;
  std::uint64_t disk_nars = 0;
};

// Reads the body of the proxy's /health. Throws FormatError.
ProxyStatus parse_proxy_status(const std::string& text);

// Where a client on this machine finds the proxy with these options: a URL, or "unix:/PATH".
std::string proxy_address(const config::ProxyOptions& options);

// The body of /health of the proxy at `address`. Throws Error, as net::HttpClient does.
std::string ask_proxy(const std::string& address);

// Whether a substituter's URL is that of a proxy with these options.
bool is_proxy(const std::string& url, const config::ProxyOptions& options);

}  // namespace nixbuild::cli
