// A cache that the proxy asks, and whether it is there.
//
// An upstream is up, away or unknown. Only one that is up is asked. Whether it is there is found
// out by a probe: one request for nix-cache-info on a connection of its own, the only request that
// resolves the upstream's name. Probes run
//   - when the proxy starts and when this machine's network changes (the state is unknown then),
//   - every 30 to 40 seconds while the upstream is away,
//   - when a request to it fails or is overdue.
// An upstream that is up, and that nobody asks, is left in peace.
#pragma once

#include <array>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>

#include "common/net/server_address.hpp"
#include "common/nix/store_path.hpp"
#include "server/proxy/fetch.hpp"
#include "server/proxy/http_loop.hpp"
#include "server/proxy/wake_list.hpp"

namespace nixbuild::proxy {

using std::chrono::milliseconds;

enum class UpstreamState : std::uint8_t { unknown, up, away };
std::string_view name_of(UpstreamState state);

// How long an upstream's answers took lately.
class LatencyWindow {
 public:
  void add(milliseconds time);
  // The 95th percentile; `fallback` as long as too few are known.
  milliseconds usual(milliseconds fallback) const;

 private:
  static constexpr std::size_t least = 8;
  std::array<std::uint32_t, 64> times_{};
  std::size_t count_ = 0;
};

class Upstream {
 public:
  struct Counters {
    std::uint64_t narinfos_found = 0;
    std::uint64_t narinfos_absent = 0;
    std::uint64_t failures = 0;
    std::uint64_t probes = 0;
    std::uint64_t nar_bytes = 0;
  };

  Upstream(net::ServerAddress address, const nix::StoreDir& store_dir);

  const std::string& url() const noexcept { return url_; }
  const std::string& id() const noexcept { return id_; }  // in the URLs that clients get
  UpstreamState state() const noexcept { return state_; }
  bool is_up() const noexcept { return state_ == UpstreamState::up; }
  bool is_away() const noexcept { return state_ == UpstreamState::away; }
  std::chrono::system_clock::time_point since() const noexcept { return since_; }
  // Why it was away last, or why a request failed last; empty: never.
  const std::string& last_error() const noexcept { return last_error_; }
  // Woken when the state changes and when a probe ends.
  WakeList& changed() noexcept { return *changed_; }
  std::uint64_t probes_ended() const noexcept { return probes_ended_; }

  // What a request for `path`, relative to the base URL, begins with.
  TransferRequest request(std::string_view path) const;

  // A request was answered as a cache does.
  void succeeded();
  void answered(std::chrono::steady_clock::duration time);
  // A request was not. After several without a success between them the upstream counts as away,
  // whatever its probe says.
  void failed(std::string_view why);
  // An answer is overdue: has a probe find out whether the upstream is there.
  void doubt();
  // Nothing is known any more.
  void forget_state();

  // After which time without an answer the next upstream is asked as well.
  milliseconds hedge_delay() const;
  // After which time without an answer doubt() is called.
  milliseconds doubt_delay() const;

  // Probes when it is due; for as long as the loop exists.
  boost::asio::awaitable<void> watch(std::shared_ptr<HttpLoop> loop);

  Counters counters;

 private:
  boost::asio::awaitable<void> probe(std::shared_ptr<HttpLoop> loop);
  void judge(const Fetch& fetch);
  void set_state(UpstreamState state, std::string_view why);
  void request_probe();
  milliseconds retry_delay();

  const net::ServerAddress address_;
  const nix::StoreDir store_dir_;
  const std::string url_;
  const std::string id_;
  const bool has_name_;  // to resolve
  UpstreamState state_ = UpstreamState::unknown;
  UpstreamState logged_state_ = UpstreamState::unknown;
  std::chrono::system_clock::time_point since_;
  TimePoint up_since_;
  std::string last_error_;
  std::string peer_address_;  // that the last good probe connected to
  unsigned failures_ = 0;     // without a success between them
  milliseconds last_probe_time_{0};
  std::uint64_t probes_ended_ = 0;
  bool probe_is_wanted_ = true;
  bool probe_is_outdated_ = false;  // the one that runs, as the network has changed
  LatencyWindow latencies_;
  const std::shared_ptr<WakeList> changed_ = std::make_shared<WakeList>();
  const std::shared_ptr<WakeList> wanted_ = std::make_shared<WakeList>();
  std::minstd_rand random_;
};

}  // namespace nixbuild::proxy
