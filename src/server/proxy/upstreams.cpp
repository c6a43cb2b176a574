#include "server/proxy/upstreams.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/this_coro.hpp>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "common/net/server_address.hpp"
#include "server/proxy/network_watch.hpp"

namespace nixbuild::proxy {
namespace {

namespace asio = boost::asio;
using Steady = std::chrono::steady_clock;

// That requests wait for unknown upstreams.
constexpr milliseconds patience{250};
// A network that changes all the time must not make them wait all the time.
constexpr milliseconds between_waits{5'000};

}  // namespace

Upstreams::Upstreams(const std::vector<std::string>& urls, const nix::StoreDir& store_dir) {
  for (const std::string& url : urls) {
    auto upstream =
        std::make_unique<Upstream>(net::parse_server_address(url, net::cache_port), store_dir);
    if (find(upstream->id()) != nullptr) {
      throw UsageError("upstream: " + upstream->url() + " is there twice");
    }
    all_.push_back(std::move(upstream));
  }
}

void Upstreams::start(const std::shared_ptr<HttpLoop>& loop) {
  for (const auto& upstream : all_)
    asio::co_spawn(loop->executor(), upstream->watch(loop), asio::detached);
  try {
    watch_network(loop->executor(), [this] { network_changed(); });
  } catch (const Error& error) {
    log::warn("changes of the network are not noticed: {}", error.what());
  }
}

Upstream* Upstreams::find(std::string_view id) const {
  const auto found = std::find_if(all_.begin(), all_.end(),
                                  [id](const auto& upstream) { return upstream->id() == id; });
  return found != all_.end() ? found->get() : nullptr;
}

TimePoint Upstreams::deadline() {
  if (!deadline_) deadline_ = Steady::now() + patience;
  return *deadline_;
}

asio::awaitable<void> Upstreams::settle(Upstream& upstream) {
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  while (upstream.state() == UpstreamState::unknown && Steady::now() < deadline()) {
    auto waiter = std::make_shared<async::Waiter>(executor);
    upstream.changed().add(waiter);
    asio::awaitable<void> waiting = waiter->wait(deadline());
    co_await std::move(waiting);
  }
}

void Upstreams::network_changed() {
  log::debug("the network has changed");
  if (deadline_ && Steady::now() >= *deadline_ + between_waits) deadline_.reset();
  for (const auto& upstream : all_)
    upstream->forget_state();
}

}  // namespace nixbuild::proxy
