// One serving thread: its io_context, and an epoll set that drives the connections.
//
// The connections do not wait through Asio. A separate edge-triggered epoll set needs no system
// call to wait again after each request, and reports that a client has disconnected while its
// answer is still being made. The set is itself a descriptor in the io_context, so handlers'
// coroutines, timers and work posted from other threads run on the same thread, in turn with the
// connections.
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/unique_fd.hpp"
#include "server/http/clock.hpp"
#include "server/http/peer_limit.hpp"
#include "server/http/server.hpp"
#include "server/http/statistics.hpp"

namespace nixbuild::http {

class Connection;
class Worker;

// The recipient of epoll events. It must not be destroyed while events are being delivered: see
// Worker::retire.
class EpollTarget {
 public:
  virtual ~EpollTarget() = default;
  virtual void on_event(std::uint32_t events) = 0;
};

// The limit on open connections, shared by all workers.
class ConnectionGate {
 public:
  explicit ConnectionGate(std::size_t limit) : limit_(limit) {}

  std::size_t open() const noexcept { return open_.load(std::memory_order_relaxed); }
  // Counts a new connection; false at the limit. `on_place` is then called once one closes.
  bool enter() noexcept;
  void leave();
  // Set by a worker that sees clients waiting to be accepted; true until one is accepted.
  void set_crowded() noexcept { crowded_.store(true); }
  bool is_crowded() const noexcept { return crowded_.load(); }
  std::function<void()> on_place;  // called on the thread that closes a connection

 private:
  const std::size_t limit_;
  std::atomic<std::size_t> open_{0};
  std::atomic<bool> waiting_{false};
  std::atomic<bool> crowded_{false};
};

// State shared by all workers of a server.
struct ServerShared {
  ServerOptions options;
  const Router* counted_router = nullptr;
  ConnectionGate gate;
  PeerLimit peers;
  std::function<void()> on_worker_drained;

  ServerShared(ServerOptions o, const Router* counted)
      : options(std::move(o)),
        counted_router(counted),
        gate(options.limits.connections),
        peers(options.limits.connections, options.trusted_proxies) {}
};

// A listening socket.
struct ListenSocket {
  std::shared_ptr<const UniqueFd> fd;
  std::shared_ptr<const Router> router;
  std::uint64_t id = 0;  // of the address; the same in every worker
  bool shared = false;   // all workers accept from this one socket
};

class Worker {
 public:
  explicit Worker(ServerShared& shared);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // From any thread:
  boost::asio::any_io_executor executor() { return executor_; }
  template <typename Function>
  void post(Function function);
  const WorkerCounters& counters() const noexcept { return counters_; }

  // The thread's main function; returns after stop().
  void run();
  void stop() { context_.stop(); }

  // On the worker's thread, or before run():
  void add_listener(ListenSocket socket);
  void remove_listener(std::uint64_t id);
  // Stops accepting and closes connections as their requests end; calls ServerShared's
  // on_worker_drained once none is left.
  void drain();
  void abort_connections();
  void resume_accepting();
  // Delivers events of any descriptor, level-triggered. Call `unwatch` before closing it.
  void watch(int fd, EpollTarget& target);
  void unwatch(int fd);

  // For connections:
  ServerShared& shared() noexcept { return shared_; }
  WorkerCounters& own_counters() noexcept { return counters_; }
  bool draining() const noexcept { return draining_; }
  std::string_view date_line();
  // Calls the connection's resume() after the events of other connections.
  void run_again(Connection& connection);
  // Unlinks a closed connection; it is destroyed once no event can refer to it.
  void retire(Connection& connection);
  // `bytes` of a response are in memory because the client reads slowly; 0 if it no longer does. If
  // the total is too high, resets the connections that have been stalled longest.
  void set_queued(Connection& connection, std::size_t bytes);
  std::unique_ptr<char[]> take_buffer();
  void give_buffer(std::unique_ptr<char[]> buffer);
  std::size_t buffer_size() const noexcept { return buffer_size_; }

 private:
  class Acceptor;

  void pump();
  void schedule_pump();
  bool deliver();
  void watch_acceptors();
  void unwatch_acceptors();
  void accept_from(Acceptor& acceptor);
  void add_connection(UniqueFd socket, const Acceptor& acceptor, std::string peer,
                      PeerLimit::Place place);
  void pause_accepting();
  bool has_waiting_client() const;
  template <typename Work>
  void each_connection(const Work& work);
  void schedule_sweep();
  void sweep();
  void bury();
  void check_drained();

  ServerShared& shared_;
  WorkerCounters counters_;
  const std::size_t buffer_size_;
  const std::size_t queued_limit_;  // this worker's share of Limits::queued_bytes
  std::size_t queued_ = 0;
  std::vector<std::unique_ptr<char[]>> buffers_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<std::unique_ptr<Connection>> graveyard_;
  std::vector<std::unique_ptr<Acceptor>> acceptors_;
  std::vector<std::unique_ptr<Acceptor>> closed_acceptors_;
  std::vector<Connection*> again_;
  std::vector<Connection*> resuming_;
  std::string date_line_;
  std::int64_t date_second_ = -1;
  bool accepting_ = true;
  bool draining_ = false;
  bool drained_ = false;
  bool sweeping_ = false;
  bool delivering_ = false;
  bool waiting_ = false;      // for events, with nothing else to do
  bool pump_is_due_ = false;  // already scheduled
  std::chrono::milliseconds sweep_interval_;

  // Last, so that it is destroyed first: its remaining coroutines refer to connections.
  boost::asio::io_context context_;
  boost::asio::any_io_executor executor_;
  boost::asio::posix::stream_descriptor epoll_;
  boost::asio::steady_timer sweep_timer_;
};

}  // namespace nixbuild::http

#include <boost/asio/post.hpp>

namespace nixbuild::http {

template <typename Function>
void Worker::post(Function function) {
  boost::asio::post(context_, std::move(function));
}

}  // namespace nixbuild::http
