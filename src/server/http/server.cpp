#include "server/http/server.hpp"

#include <fmt/format.h>
#include <net/if.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "server/http/descriptor_limit.hpp"
#include "server/http/interface_watch.hpp"
#include "server/http/listen_sockets.hpp"
#include "server/http/service_manager.hpp"
#include "server/http/socket_address.hpp"
#include "server/http/worker.hpp"

namespace nixbuild::http {
namespace {

using std::chrono::milliseconds;

// After how long an address that could not be bound is tried again.
constexpr milliseconds bind_retry{1'000};
// How long coroutines get to end after their connections were cut.
constexpr milliseconds unwind_time{200};

ServerOptions completed(ServerOptions options) {
  if (options.threads == 0) options.threads = std::max(1U, std::thread::hardware_concurrency());
  const std::size_t room = make_room_for_connections(options.limits.connections);
  if (room < options.limits.connections) {
    log::warn("the limit of open files (ulimit -Hn) has room for {} connections only, not {}", room,
              options.limits.connections);
    options.limits.connections = room;
  }
  return options;
}

// An IPv6 address can be written in several ways.
std::string canonical(const net::ListenAddress& address) {
  const auto* tcp = std::get_if<net::TcpAddress>(&address);
  if (tcp == nullptr) return net::to_string(address);
  return net::to_string(net::TcpAddress{host_of(to_socket_address(*tcp).storage), tcp->port});
}

// The machine lacks the address or its family, as opposed to somebody else using it.
bool is_absent(int error) {
  return error == EADDRNOTAVAIL || error == EAFNOSUPPORT;
}

}  // namespace

class Server::Impl {
 public:
  Impl(ServerOptions options, std::shared_ptr<const Router> router)
      : shared_(completed(options), router.get()),
        router_(std::move(router)),
        inherited_(inherited_sockets()) {
    for (unsigned i = 0; i < shared_.options.threads; ++i) {
      workers_.push_back(std::make_unique<Worker>(shared_));
    }
    shared_.gate.on_place = [this] {
      for (const auto& worker : workers_) {
        worker->post([target = worker.get()] { target->resume_accepting(); });
      }
    };
    shared_.on_worker_drained = [this] { first().post([this] { on_worker_drained(); }); };
    for (InheritedSocket& socket : inherited_) {
      socket_owners_.push_back({std::make_shared<const UniqueFd>(std::move(socket.fd)), router_});
    }
  }

  void listen(Listener listener);
  void run();
  void request_stop() {
    first().post([this] { begin_stop(); });
  }

  std::function<void()> reload;
  std::function<void()> on_stop;
  boost::asio::any_io_executor executor() { return first().executor(); }
  ServerStatistics statistics() const;
  std::vector<std::string> addresses() const;

 private:
  struct Inherited {
    std::shared_ptr<const UniqueFd> fd;
    std::shared_ptr<const Router> router;
  };

  // An interface that is listened on, and what of it is bound.
  struct Followed {
    net::InterfaceAddress address;
    std::shared_ptr<const Router> router;
    unsigned index = 0;                          // of the interface whose addresses are bound
    std::map<std::string, std::uint64_t> bound;  // address → id
    std::set<std::string> failed;
  };

  enum class Phase { starting, serving, stopping, ended };

  Worker& first() { return *workers_.front(); }
  std::uint64_t add_sockets(std::vector<UniqueFd> sockets, std::shared_ptr<const Router> router);
  void add_shared_socket(std::shared_ptr<const UniqueFd> fd, std::shared_ptr<const Router> router);
  void announce(std::uint64_t id, std::string url);
  void bind_interface(Followed& followed, bool at_start);
  void follow_interfaces();
  void schedule_bind_retry();
  void wait_for_signal();
  void on_signal(int number);
  void begin_stop();
  void end_now();
  void on_worker_drained();
  void stop_workers();
  void do_reload();
  void start_watchdog();
  void watchdog_tick();

  ServerShared shared_;
  std::shared_ptr<const Router> router_;
  std::vector<InheritedSocket> inherited_;
  std::vector<Inherited> socket_owners_;
  std::vector<UnixSocketFile> unix_files_;
  std::vector<std::unique_ptr<Followed>> followed_;
  std::unique_ptr<InterfaceWatch> interface_watch_;
  std::uint64_t next_id_ = 1;
  Phase phase_ = Phase::starting;
  unsigned drained_ = 0;

  mutable std::mutex urls_mutex_;
  std::map<std::uint64_t, std::string> urls_;

  std::atomic<unsigned> beats_{0};
  milliseconds watchdog_period_{0};

  // Last, so that what their contexts still hold goes first.
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<boost::asio::signal_set> signals_;
  std::unique_ptr<boost::asio::steady_timer> stop_timer_;
  std::unique_ptr<boost::asio::steady_timer> bind_timer_;
  std::unique_ptr<boost::asio::steady_timer> watchdog_timer_;
};

void Server::Impl::announce(std::uint64_t id, std::string url) {
  if (phase_ == Phase::serving) log::info("listening on {}", url);
  const std::lock_guard lock(urls_mutex_);
  urls_[id] = std::move(url);
}

// Gives each worker its own socket of one address, or its own of each set of such sockets.
std::uint64_t Server::Impl::add_sockets(std::vector<UniqueFd> sockets,
                                        std::shared_ptr<const Router> router) {
  const std::uint64_t id = next_id_++;
  std::string url = url_of(sockets.front().get());
  for (std::size_t i = 0; i < sockets.size(); ++i) {
    ListenSocket socket{std::make_shared<const UniqueFd>(std::move(sockets[i])), router, id, false};
    Worker* worker = workers_[i % workers_.size()].get();
    worker->post([worker, socket = std::move(socket)]() mutable {
      worker->add_listener(std::move(socket));
    });
  }
  announce(id, std::move(url));
  return id;
}

// Lets all workers accept from one socket.
void Server::Impl::add_shared_socket(std::shared_ptr<const UniqueFd> fd,
                                     std::shared_ptr<const Router> router) {
  const std::uint64_t id = next_id_++;
  for (const auto& worker : workers_) {
    worker->post([target = worker.get(), socket = ListenSocket{fd, router, id, true}]() mutable {
      target->add_listener(std::move(socket));
    });
  }
  announce(id, url_of(fd->get()));
}

void Server::Impl::listen(Listener listener) {
  std::shared_ptr<const Router> router = listener.router ? std::move(listener.router) : router_;
  for (std::size_t i = 0; i < inherited_.size(); ++i) {
    if (canonical(inherited_[i].address) != canonical(listener.address)) continue;
    // The service manager holds this address for us already.
    socket_owners_[i].router = std::move(router);
    return;
  }
  if (auto* interface = std::get_if<net::InterfaceAddress>(&listener.address)) {
    auto& followed = *followed_.emplace_back(std::make_unique<Followed>());
    followed.address = std::move(*interface);
    followed.router = std::move(router);
    // The watch begins before the first look, so that no change falls between them.
    if (!interface_watch_) {
      interface_watch_ = std::make_unique<InterfaceWatch>([this] { follow_interfaces(); });
    }
    bind_interface(followed, true);
    if (followed.bound.empty()) {
      log::warn("{}: the interface has no such address yet; it is listened on when one comes",
                net::to_string(followed.address));
    }
    return;
  }
  if (const auto* file = std::get_if<net::UnixAddress>(&listener.address)) {
    UniqueFd fd = listen_unix(*file, listener.unix_mode);
    unix_files_.emplace_back(file->path);
    add_shared_socket(std::make_shared<const UniqueFd>(std::move(fd)), std::move(router));
    return;
  }
  try {
    add_sockets(listen_tcp(std::get<net::TcpAddress>(listener.address), shared_.options.threads),
                std::move(router));
  } catch (const SystemError& error) {
    if (listener.required || !is_absent(error.error_number())) throw;
    log::warn("{}", error.what());
  }
}

// Makes what is bound equal to what the interface has.
void Server::Impl::bind_interface(Followed& followed, bool at_start) {
  const std::set<std::string> present = interface_addresses(followed.address);
  // Sockets of an interface that went and came back are those of the one that went.
  const unsigned index = ::if_nametoindex(followed.address.interface.c_str());
  const bool same = followed.index == index;
  followed.index = index;
  for (auto it = followed.bound.begin(); it != followed.bound.end();) {
    if (same && present.contains(it->first)) {
      ++it;
      continue;
    }
    const std::uint64_t id = it->second;
    for (const auto& worker : workers_) {
      worker->post([target = worker.get(), id] { target->remove_listener(id); });
    }
    {
      const std::lock_guard lock(urls_mutex_);
      log::info("no longer listening on {}", urls_[id]);
      urls_.erase(id);
    }
    it = followed.bound.erase(it);
  }
  std::erase_if(followed.failed,
                [&present](const std::string& host) { return !present.contains(host); });
  for (const std::string& host : present) {
    if (followed.bound.contains(host)) continue;
    try {
      followed.bound[host] =
          add_sockets(listen_tcp_on(followed.address.interface, {host, followed.address.port},
                                    shared_.options.threads),
                      followed.router);
      followed.failed.erase(host);
    } catch (const SystemError& error) {
      if (at_start) throw;
      if (followed.failed.insert(host).second) log::warn("{}; trying again", error.what());
    }
  }
}

void Server::Impl::follow_interfaces() {
  if (phase_ != Phase::serving) return;
  bool failed = false;
  for (const auto& followed : followed_) {
    try {
      bind_interface(*followed, false);
      failed = failed || !followed->failed.empty();
    } catch (const std::exception& error) {
      log::warn("{}: {}", net::to_string(followed->address), error.what());
      failed = true;
    }
  }
  if (failed) schedule_bind_retry();
}

void Server::Impl::schedule_bind_retry() {
  bind_timer_->expires_after(bind_retry);
  bind_timer_->async_wait([this](const boost::system::error_code& error) {
    if (!error) follow_interfaces();
  });
}

void Server::Impl::run() {
  std::signal(SIGPIPE, SIG_IGN);  // sendfile(2) has no MSG_NOSIGNAL
  const boost::asio::any_io_executor executor = first().executor();
  signals_ = std::make_unique<boost::asio::signal_set>(executor, SIGTERM, SIGINT, SIGHUP);
  stop_timer_ = std::make_unique<boost::asio::steady_timer>(executor);
  bind_timer_ = std::make_unique<boost::asio::steady_timer>(executor);
  watchdog_timer_ = std::make_unique<boost::asio::steady_timer>(executor);

  for (const Inherited& inherited : socket_owners_) {
    add_shared_socket(inherited.fd, inherited.router);
  }
  if (interface_watch_) first().watch(interface_watch_->fd(), *interface_watch_);
  wait_for_signal();

  std::vector<std::thread> threads;
  for (std::size_t i = 1; i < workers_.size(); ++i) {
    threads.emplace_back([worker = workers_[i].get()] { worker->run(); });
  }
  first().post([this] {
    if (phase_ != Phase::starting) return;
    phase_ = Phase::serving;
    {
      const std::lock_guard lock(urls_mutex_);
      for (const auto& [id, url] : urls_)
        log::info("listening on {}", url);
    }
    follow_interfaces();
    service_manager::ready();
    start_watchdog();
  });
  first().run();
  for (std::thread& thread : threads)
    thread.join();
  phase_ = Phase::ended;
  signals_.reset();
  unix_files_.clear();
  const std::lock_guard lock(urls_mutex_);
  urls_.clear();
}

void Server::Impl::wait_for_signal() {
  signals_->async_wait([this](const boost::system::error_code& error, int number) {
    if (error) return;
    on_signal(number);
    wait_for_signal();
  });
}

void Server::Impl::on_signal(int number) {
  if (number == SIGHUP) return do_reload();
  log::info("{}: {}", number == SIGINT ? "SIGINT" : "SIGTERM",
            phase_ == Phase::stopping ? "ending at once" : "finishing what is in flight");
  if (phase_ == Phase::stopping) return end_now();
  begin_stop();
}

void Server::Impl::do_reload() {
  if (!reload || phase_ != Phase::serving) return;
  service_manager::reloading();
  try {
    reload();
  } catch (const std::exception& error) {
    log::error("reloading: {}", error.what());
  }
  service_manager::ready();
}

void Server::Impl::begin_stop() {
  if (phase_ == Phase::stopping || phase_ == Phase::ended) return;
  phase_ = Phase::stopping;
  service_manager::stopping();
  if (on_stop) on_stop();
  bind_timer_->cancel();
  stop_timer_->expires_after(shared_.options.limits.shutdown_timeout);
  stop_timer_->async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    log::warn("connections were still in use after {} ms: cut",
              shared_.options.limits.shutdown_timeout.count());
    end_now();
  });
  for (const auto& worker : workers_) {
    worker->post([target = worker.get()] { target->drain(); });
  }
}

void Server::Impl::end_now() {
  for (const auto& worker : workers_) {
    worker->post([target = worker.get()] {
      target->drain();
      target->abort_connections();
    });
  }
  // Coroutines that end by themselves now are waited for; others are destroyed where they stand.
  stop_timer_->expires_after(unwind_time);
  stop_timer_->async_wait([this](const boost::system::error_code& error) {
    if (!error) stop_workers();
  });
}

void Server::Impl::on_worker_drained() {
  if (++drained_ == workers_.size()) stop_workers();
}

void Server::Impl::stop_workers() {
  for (const auto& worker : workers_)
    worker->stop();
}

// Feeds the watchdog only while every thread answers: each tick asks all of them, and looks whether
// all have answered the last time.
void Server::Impl::start_watchdog() {
  const auto interval = service_manager::watchdog_interval();
  if (!interval) return;
  watchdog_period_ =
      std::max(std::chrono::duration_cast<milliseconds>(*interval / 4), milliseconds(1));
  beats_ = static_cast<unsigned>(workers_.size());
  watchdog_tick();
}

void Server::Impl::watchdog_tick() {
  if (beats_.load() >= workers_.size()) {
    service_manager::alive();
    beats_ = 0;
    for (const auto& worker : workers_)
      worker->post([this] { beats_.fetch_add(1); });
  }
  watchdog_timer_->expires_after(watchdog_period_);
  watchdog_timer_->async_wait([this](const boost::system::error_code& error) {
    if (!error) watchdog_tick();
  });
}

ServerStatistics Server::Impl::statistics() const {
  ServerStatistics sum;
  std::uint64_t closed = 0;
  std::uint64_t begun = 0;
  std::uint64_t ended = 0;
  sum.responses.resize(router_ ? router_->route_count() : 0);
  for (const auto& worker : workers_) {
    const WorkerCounters& counters = worker->counters();
    // What ends is read before what begins: so no difference is ever negative.
    closed += counters.connections_closed.get();
    ended += counters.requests_ended.get();
    begun += counters.requests_begun.get();
    sum.connections_accepted += counters.connections_accepted.get();
    sum.bytes_sent += counters.bytes_sent.get();
    sum.timeouts += counters.timeouts.get();
    for (std::size_t route = 0; route < counters.responses.size(); ++route) {
      auto& row = route < sum.responses.size() ? sum.responses[route] : sum.unmatched;
      for (std::size_t i = 0; i < row.size(); ++i)
        row[i] += counters.responses[route][i].get();
    }
  }
  sum.connections_open = sum.connections_accepted - std::min(closed, sum.connections_accepted);
  sum.requests_in_flight = begun - std::min(ended, begun);
  return sum;
}

std::vector<std::string> Server::Impl::addresses() const {
  const std::lock_guard lock(urls_mutex_);
  std::vector<std::string> result;
  for (const auto& [id, url] : urls_)
    result.push_back(url);
  return result;
}

Server::Server(ServerOptions options, std::shared_ptr<const Router> router)
    : impl_(std::make_unique<Impl>(options, std::move(router))) {}
Server::~Server() = default;

void Server::listen(Listener listener) {
  impl_->listen(std::move(listener));
}
void Server::run() {
  impl_->run();
}
void Server::stop() {
  impl_->request_stop();
}
void Server::on_reload(std::function<void()> reload) {
  impl_->reload = std::move(reload);
}
void Server::on_stop(std::function<void()> stop) {
  impl_->on_stop = std::move(stop);
}
boost::asio::any_io_executor Server::executor() {
  return impl_->executor();
}
ServerStatistics Server::statistics() const {
  return impl_->statistics();
}
std::vector<std::string> Server::addresses() const {
  return impl_->addresses();
}

}  // namespace nixbuild::http
