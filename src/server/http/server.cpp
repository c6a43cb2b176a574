#include "server/http/server.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <thread>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "server/http/descriptor_limit.hpp"
#include "server/http/listeners.hpp"
#include "server/http/service_manager.hpp"
#include "server/http/watchdog.hpp"
#include "server/http/worker.hpp"

namespace nixbuild::http {
namespace {

using std::chrono::milliseconds;

// How long coroutines have to finish after their connections were aborted.
constexpr milliseconds unwind_time{200};
// Signals that arrive within this time cause a single reload.
constexpr milliseconds reload_delay{10};

ServerOptions completed(ServerOptions options) {
  if (options.threads == 0) options.threads = std::max(1U, std::thread::hardware_concurrency());
  const std::size_t room = make_room_for_connections(options.limits.connections);
  if (room < options.limits.connections) {
    log::warn("the limit on open files (ulimit -Hn) allows only {} connections, not {}", room,
              options.limits.connections);
    options.limits.connections = room;
  }
  return options;
}

}  // namespace

class Server::Impl {
 public:
  Impl(ServerOptions options, std::shared_ptr<const Router> router)
      : shared_(completed(std::move(options)), router.get()),
        router_(std::move(router)),
        workers_(make_workers(shared_)),
        listeners_(workers_, router_),
        watchdog_(workers_),
        stop_timer_(executor()),
        reload_timer_(executor()) {
    shared_.gate.on_place = [this] {
      for (const auto& worker : workers_) {
        worker->post([target = worker.get()] { target->resume_accepting(); });
      }
    };
    shared_.on_worker_drained = [this] { first().post([this] { on_worker_drained(); }); };
  }

  void run();
  void request_stop() {
    first().post([this] { begin_stop(); });
  }

  std::function<void()> reload;
  std::function<void()> on_stop;
  boost::asio::any_io_executor executor() { return first().executor(); }
  Listeners& listeners() noexcept { return listeners_; }
  ServerStatistics statistics() const;

 private:
  enum class Phase { starting, serving, stopping, ended };

  static Listeners::Workers make_workers(ServerShared& shared) {
    Listeners::Workers workers;
    for (unsigned i = 0; i < shared.options.threads; ++i)
      workers.push_back(std::make_unique<Worker>(shared));
    return workers;
  }
  Worker& first() { return *workers_.front(); }
  void wait_for_signal();
  void on_signal(int number);
  void begin_stop();
  void end_now();
  void on_worker_drained();
  void stop_workers();
  void reload_soon();
  void do_reload();

  ServerShared shared_;
  const std::shared_ptr<const Router> router_;
  Phase phase_ = Phase::starting;
  unsigned drained_ = 0;

  const Listeners::Workers workers_;
  // Declared after the workers, because its timers and sockets use their contexts.
  Listeners listeners_;
  Watchdog watchdog_;
  std::unique_ptr<boost::asio::signal_set> signals_;
  boost::asio::steady_timer stop_timer_;
  boost::asio::steady_timer reload_timer_;
  bool reload_is_due_ = false;
};

void Server::Impl::run() {
  std::signal(SIGPIPE, SIG_IGN);  // sendfile(2) has no MSG_NOSIGNAL
  signals_ = std::make_unique<boost::asio::signal_set>(executor(), SIGTERM, SIGINT, SIGHUP);
  listeners_.add_inherited();
  wait_for_signal();

  std::vector<std::thread> threads;
  for (std::size_t i = 1; i < workers_.size(); ++i) {
    threads.emplace_back([worker = workers_[i].get()] { worker->run(); });
  }
  first().post([this] {
    if (phase_ != Phase::starting) return;
    phase_ = Phase::serving;
    listeners_.start();
    service_manager::ready();
    watchdog_.start();
  });
  first().run();
  for (std::thread& thread : threads)
    thread.join();
  phase_ = Phase::ended;
  signals_.reset();
  listeners_.clear();
}

void Server::Impl::wait_for_signal() {
  signals_->async_wait([this](const boost::system::error_code& error, int number) {
    if (error) return;
    on_signal(number);
    wait_for_signal();
  });
}

void Server::Impl::on_signal(int number) {
  if (number == SIGHUP) return reload_soon();
  log::info("{}: {}", number == SIGINT ? "SIGINT" : "SIGTERM",
            phase_ == Phase::stopping ? "stopping immediately" : "finishing requests in flight");
  if (phase_ == Phase::stopping) return end_now();
  begin_stop();
}

// Asio delivers every signal, even during a reload; those that arrived meanwhile cause one more.
void Server::Impl::reload_soon() {
  if (reload_is_due_) return;
  reload_is_due_ = true;
  reload_timer_.expires_after(reload_delay);
  reload_timer_.async_wait([this](const boost::system::error_code& error) {
    reload_is_due_ = false;
    if (!error) do_reload();
  });
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
  listeners_.stop();
  stop_timer_.expires_after(shared_.options.limits.shutdown_timeout);
  stop_timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    log::warn("connections were still in use after {} ms, closing them",
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
  // Wait for coroutines that finish by themselves now; the others are destroyed while suspended.
  stop_timer_.expires_after(unwind_time);
  stop_timer_.async_wait([this](const boost::system::error_code& error) {
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

ServerStatistics Server::Impl::statistics() const {
  ServerStatistics sum;
  std::uint64_t closed = 0;
  std::uint64_t begun = 0;
  std::uint64_t ended = 0;
  sum.responses.resize(router_ ? router_->route_count() : 0);
  for (const auto& worker : workers_) {
    const WorkerCounters& counters = worker->counters();
    // Read the counters of ends before those of beginnings, so that no difference is negative.
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

Server::Server(ServerOptions options, std::shared_ptr<const Router> router)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(router))) {}
Server::~Server() = default;

void Server::listen(Listener listener) {
  impl_->listeners().listen(std::move(listener));
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
  return impl_->listeners().addresses();
}

}  // namespace nixbuild::http
