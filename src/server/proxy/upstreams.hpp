// All upstreams, in the order in which they are asked, and the network that leads to them.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/nix/store_path.hpp"
#include "server/proxy/http_loop.hpp"
#include "server/proxy/upstream.hpp"

namespace nixbuild::proxy {

class Upstreams {
 public:
  // `urls` as net::parse_server_address reads them. Throws UsageError.
  Upstreams(const std::vector<std::string>& urls, const nix::StoreDir& store_dir);

  // Begins to probe, and to follow this machine's network.
  void start(const std::shared_ptr<HttpLoop>& loop);

  const std::vector<std::unique_ptr<Upstream>>& all() const noexcept { return all_; }
  // The one with this id; null if there is none.
  Upstream* find(std::string_view id) const;

  // Until when requests wait for upstreams that are unknown. Counts from the first request that
  // waits, so that all of them together wait once, after the start and after a change of network.
  TimePoint deadline();
  // Returns once the upstream is no longer unknown, at the latest at that deadline.
  boost::asio::awaitable<void> settle(Upstream& upstream);

  // This machine's addresses have changed, or it was asleep.
  void network_changed();

 private:
  std::vector<std::unique_ptr<Upstream>> all_;
  std::optional<TimePoint> deadline_;
};

}  // namespace nixbuild::proxy
