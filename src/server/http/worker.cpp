#include "server/http/worker.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <optional>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "server/http/connection.hpp"
#include "server/http/contain.hpp"
#include "server/http/response_head.hpp"
#include "server/http/socket_address.hpp"

namespace nixbuild::http {
namespace {

constexpr int events_a_round = 256;
// Rounds of events before timers, coroutines and posted work run.
constexpr int rounds_a_turn = 8;
constexpr int accepts_a_turn = 64;
// Read buffers kept for reuse.
constexpr std::size_t spare_buffers = 64;
// Room for a body that is always available after a request's head.
constexpr std::size_t body_room = 4096;
// The minimum of queued bytes for each worker, however many workers share the limit.
constexpr std::size_t least_queued_bytes = std::size_t{16} << 20;

std::chrono::milliseconds sweep_interval(const Limits& limits) {
  using std::chrono::milliseconds;
  const milliseconds shortest =
      std::min({limits.header_timeout, limits.idle_timeout, limits.write_timeout});
  return std::clamp(shortest / 4, milliseconds(5), milliseconds(1000));
}

UniqueFd make_epoll() {
  UniqueFd fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!fd) throw SystemError(errno, "creating an epoll set");
  return fd;
}

bool out_of_resources(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace

bool ConnectionGate::enter() noexcept {
  if (open_.fetch_add(1) < limit_) {
    if (crowded_.load(std::memory_order_relaxed)) crowded_.store(false);
    return true;
  }
  open_.fetch_sub(1);
  waiting_.store(true);
  // A connection may have closed between the two lines above, before its thread could see that this
  // worker waits.
  if (open_.load() < limit_ && waiting_.exchange(false)) {
    if (open_.fetch_add(1) < limit_) return true;
    open_.fetch_sub(1);
    waiting_.store(true);
  }
  return false;
}

void ConnectionGate::leave() {
  open_.fetch_sub(1);
  if (!waiting_.load() || !waiting_.exchange(false) || !on_place) return;
  // Workers not woken now are woken when the next connection closes.
  if (!contain("waking workers that wait for a place", on_place)) waiting_.store(true);
}

class Worker::Acceptor final : public EpollTarget {
 public:
  Acceptor(Worker& owner, ListenSocket listen_socket)
      : worker(owner), socket(std::move(listen_socket)) {}
  void on_event(std::uint32_t) override { worker.accept_from(*this); }

  Worker& worker;
  const ListenSocket socket;
  bool watched = false;
};

Worker::Worker(ServerShared& shared)
    : shared_(shared),
      counters_(shared.counted_router != nullptr ? shared.counted_router->route_count() + 1 : 1),
      buffer_size_(shared.options.limits.header_size + body_room),
      queued_limit_(std::max(least_queued_bytes, shared.options.limits.queued_bytes /
                                                     std::max(1U, shared.options.threads))),
      sweep_interval_(sweep_interval(shared.options.limits)),
      context_(1),
      executor_(context_.get_executor()),
      epoll_(context_, make_epoll().release()),
      sweep_timer_(context_) {
  buffers_.reserve(spare_buffers);
}

Worker::~Worker() = default;

void Worker::run() {
  const auto work = boost::asio::make_work_guard(context_);
  // After an unexpected exception, the thread and its pump continue.
  while (!contain("serving thread", [this] {
    if (!pump_is_due_) schedule_pump();
    context_.run();
  })) {
  }
}

void Worker::schedule_pump() {
  epoll_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                    [this](const boost::system::error_code&) { pump(); });
  waiting_ = pump_is_due_ = true;
}

void Worker::run_again(Connection& connection) {
  again_.push_back(&connection);
  // A deferred reply is sent outside of the pump, which may be waiting for an event that never
  // comes: a socket that stays writable produces none.
  if (waiting_) epoll_.cancel();
}

void Worker::pump() {
  waiting_ = pump_is_due_ = false;
  for (int round = 0; round < rounds_a_turn; ++round) {
    if (!deliver() && again_.empty()) return schedule_pump();
  }
  boost::asio::post(context_, [this] { pump(); });
  pump_is_due_ = true;
}

// Delivers the events that are ready; false if there were none. Each event comes only once, so an
// exception from one must not prevent the delivery of the others.
bool Worker::deliver() {
  std::array<epoll_event, events_a_round> events;
  const int count = ::epoll_wait(epoll_.native_handle(), events.data(), events_a_round, 0);
  delivering_ = true;
  const bool resuming = !again_.empty();
  resuming_.swap(again_);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    contain("serving a socket",
            [&] { static_cast<EpollTarget*>(event.data.ptr)->on_event(event.events); });
  }
  for (Connection* connection : resuming_)
    contain("serving a connection", [connection] { connection->resume(); });
  resuming_.clear();
  delivering_ = false;
  bury();
  return count > 0 || resuming;
}

void Worker::watch(int fd, EpollTarget& target) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = &target;
  if (::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_ADD, fd, &event) != 0) {
    throw SystemError(errno, "watching a descriptor");
  }
}

void Worker::unwatch(int fd) {
  ::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_DEL, fd, nullptr);
}

void Worker::add_listener(ListenSocket socket) {
  if (draining_) return;
  acceptors_.push_back(std::make_unique<Acceptor>(*this, std::move(socket)));
  if (accepting_) watch_acceptors();
}

// Those that cannot be watched are retried at the next sweep.
void Worker::watch_acceptors() {
  for (const auto& acceptor : acceptors_) {
    if (acceptor->watched) continue;
    acceptor->watched =
        contain("listening, will retry", [&] { watch(acceptor->socket.fd->get(), *acceptor); });
    if (!acceptor->watched) schedule_sweep();
  }
}

void Worker::unwatch_acceptors() {
  for (const auto& acceptor : acceptors_) {
    if (std::exchange(acceptor->watched, false)) unwatch(acceptor->socket.fd->get());
  }
}

void Worker::remove_listener(std::uint64_t id) {
  const auto gone = std::stable_partition(
      acceptors_.begin(), acceptors_.end(),
      [id](const std::unique_ptr<Acceptor>& acceptor) { return acceptor->socket.id != id; });
  for (auto it = gone; it != acceptors_.end(); ++it) {
    if ((*it)->watched) unwatch((*it)->socket.fd->get());
    closed_acceptors_.push_back(std::move(*it));
  }
  acceptors_.erase(gone, acceptors_.end());
  if (!delivering_) bury();
}

void Worker::accept_from(Acceptor& acceptor) {
  // Accept one at a time from a socket shared by all threads; otherwise the first to wake would
  // accept all connections.
  const int most = acceptor.socket.shared ? 1 : accepts_a_turn;
  for (int i = 0; i < most && accepting_; ++i) {
    if (!shared_.gate.enter()) return pause_accepting();
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    UniqueFd socket(::accept4(acceptor.socket.fd->get(), reinterpret_cast<sockaddr*>(&address),
                              &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket) {
      const int error = errno;
      shared_.gate.leave();
      if (out_of_resources(error)) {
        log::warn("accepting a connection: {}, will retry", std::strerror(error));
        return pause_accepting();
      }
      if (error == EAGAIN || error == EWOULDBLOCK || error == EBADF || error == EINVAL) return;
      continue;  // this connection is gone; there may be others
    }
    std::optional<PeerLimit::Place> place;
    const bool added = contain("accepting a connection", [&] {
      place = shared_.peers.enter(address, shared_.gate.open() - 1);
      if (!place) return;
      add_connection(std::move(socket), acceptor, peer_name(address), std::move(*place));
    });
    if (added && !place) {
      shared_.gate.leave();
      continue;
    }
    if (!added) {
      shared_.gate.leave();
      return pause_accepting();
    }
  }
}

void Worker::add_connection(UniqueFd socket, const Acceptor& acceptor, std::string peer,
                            PeerLimit::Place place) {
  // Reserve room, so that neither retiring nor resuming a connection can fail.
  const std::size_t most = connections_.size() + graveyard_.size() + 1;
  if (connections_.capacity() < most) connections_.reserve(2 * most);
  if (graveyard_.capacity() < most) graveyard_.reserve(2 * most);
  auto connection = std::make_unique<Connection>(*this, std::move(socket), acceptor.socket.router,
                                                 std::move(peer), std::move(place));
  schedule_sweep();
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = static_cast<EpollTarget*>(connection.get());
  if (::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_ADD, connection->fd(), &event) != 0) {
    throw SystemError(errno, "watching a connection");
  }
  counters_.connections_accepted.add();
  connection->index = connections_.size();
  connections_.push_back(std::move(connection));
}

void Worker::pause_accepting() {
  if (!accepting_) return;
  accepting_ = false;
  unwatch_acceptors();
  schedule_sweep();  // which retries
}

bool Worker::has_waiting_client() const {
  return std::any_of(acceptors_.begin(), acceptors_.end(), [](const auto& acceptor) {
    pollfd waiting = {acceptor->socket.fd->get(), POLLIN, 0};
    return ::poll(&waiting, 1, 0) > 0;
  });
}

void Worker::resume_accepting() {
  if (draining_) return;
  accepting_ = true;
  watch_acceptors();
}

void Worker::retire(Connection& connection) {
  const std::size_t index = connection.index;
  graveyard_.push_back(std::move(connections_[index]));
  if (index + 1 != connections_.size()) {
    connections_[index] = std::move(connections_.back());
    connections_[index]->index = index;
  }
  connections_.pop_back();
  check_drained();
}

// Destroys closed connections. Not called while events are being delivered, which may still refer
// to them.
void Worker::bury() {
  closed_acceptors_.clear();
  if (graveyard_.empty()) return;
  std::erase_if(again_, [](const Connection* connection) { return connection->closed(); });
  graveyard_.clear();
}

// `work` may close any connection. Iterates backwards, because closing one moves the last into its
// place.
template <typename Work>
void Worker::each_connection(const Work& work) {
  for (std::size_t i = connections_.size(); i-- > 0;) {
    if (i < connections_.size()) work(*connections_[i]);
  }
}

void Worker::drain() {
  if (draining_) return;
  // Serve clients that have already connected: closing the socket would reset them.
  resume_accepting();
  for (const auto& acceptor : acceptors_) {
    std::size_t before = 0;
    do {
      before = connections_.size();
      accept_from(*acceptor);
    } while (connections_.size() > before);
  }
  unwatch_acceptors();
  accepting_ = false;
  draining_ = true;
  acceptors_.clear();
  each_connection([](Connection& connection) { connection.drain(); });
  bury();
  check_drained();
}

void Worker::check_drained() {
  if (!draining_ || drained_ || !connections_.empty()) return;
  drained_ = true;
  if (shared_.on_worker_drained) shared_.on_worker_drained();
}

void Worker::abort_connections() {
  each_connection([](Connection& connection) { connection.abort(); });
  bury();
}

void Worker::schedule_sweep() {
  if (sweeping_) return;
  sweep_timer_.expires_after(sweep_interval_);
  sweep_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) sweep();
  });
  sweeping_ = true;
}

void Worker::sweep() {
  sweeping_ = false;
  if (!accepting_ && has_waiting_client()) shared_.gate.set_crowded();
  const bool crowded = shared_.gate.is_crowded();
  resume_accepting();
  const MonotonicTime now = coarse_now();
  each_connection([&](Connection& connection) {
    contain("checking a deadline", [&] { connection.check_deadline(now, crowded); });
  });
  bury();
  if (!connections_.empty()) schedule_sweep();
}

void Worker::set_queued(Connection& connection, std::size_t bytes) {
  queued_ = queued_ - connection.queued + bytes;
  connection.queued = bytes;
  if (bytes == 0) return;
  connection.stalled_since = coarse_now();
  while (queued_ > queued_limit_) {
    Connection* slowest = nullptr;
    for (const auto& other : connections_) {
      if (other.get() == &connection || other->queued == 0) continue;
      if (slowest == nullptr || other->stalled_since < slowest->stalled_since)
        slowest = other.get();
    }
    if (slowest == nullptr) return;  // a single connection may exceed the limit
    counters_.timeouts.add();
    slowest->cut_stalled("too many bytes are queued for slow clients");
  }
}

std::string_view Worker::date_line() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  if (now.tv_sec != date_second_) {
    date_second_ = now.tv_sec;
    date_line_ = http::date_line(now.tv_sec);
  }
  return date_line_;
}

std::unique_ptr<char[]> Worker::take_buffer() {
  if (buffers_.empty()) return std::unique_ptr<char[]>(new char[buffer_size_]);
  std::unique_ptr<char[]> buffer = std::move(buffers_.back());
  buffers_.pop_back();
  return buffer;
}

void Worker::give_buffer(std::unique_ptr<char[]> buffer) {
  if (buffer && buffers_.size() < spare_buffers) buffers_.push_back(std::move(buffer));
}

}  // namespace nixbuild::http
