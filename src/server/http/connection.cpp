#include "server/http/connection.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "common/base/log.hpp"
#include "server/http/ascii.hpp"
#include "server/http/clock.hpp"
#include "server/http/conditions.hpp"
#include "server/http/contain.hpp"
#include "server/http/host_rule.hpp"
#include "server/http/target.hpp"

namespace nixbuild::http {
namespace {

// How long a client that may still be sending has to read its response and close. Closing at once
// would reset the connection, and the response could be lost.
constexpr std::chrono::milliseconds linger_time{5'000};
// Pipelined requests answered before other connections get their turn.
constexpr unsigned requests_a_turn = 32;

}  // namespace

Connection::Connection(Worker& worker, UniqueFd socket, std::shared_ptr<const Router> router,
                       std::string peer, PeerLimit::Place place)
    : worker_(worker),
      socket_(std::move(socket)),
      router_(std::move(router)),
      peer_(std::move(peer)),
      place_(std::move(place)),
      reader_(worker, socket_.get()) {
  deadline_ = coarse_now() + worker_.shared().options.limits.idle_timeout;
}

Connection::~Connection() = default;

void Connection::on_event(std::uint32_t events) {
  if (state_ == State::closed) return;
  constexpr std::uint32_t ended = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
  if ((events & (EPOLLIN | ended)) != 0) reader_.on_readable((events & ended) != 0);
  if (state_ == State::handling || state_ == State::streaming) {
    // A client that only shut down its sending side still gets its answer; one that disconnected
    // does not.
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
      abort();
    } else if ((events & EPOLLOUT) != 0) {
      writer_.wake();
    }
    return;
  }
  resume();
}

void Connection::resume() {
  if (!contain(peer_, [this] { proceed(); })) abort();
}

void Connection::proceed() {
  unsigned requests = 0;
  for (;;) {
    switch (state_) {
      case State::idle:
      case State::header:
        if (!read_header()) return;
        break;
      case State::body:
        if (!read_body()) return;
        break;
      case State::sending:
        if (!flush()) return;
        finish_response();
        if (++requests == requests_a_turn && state_ == State::idle) {
          worker_.run_again(*this);
          return;
        }
        break;
      case State::lingering:
        discard_input();
        return;
      case State::handling:
      case State::streaming:
      case State::closed:
        return;
    }
  }
}

bool Connection::read_header() {
  const ServerOptions& options = worker_.shared().options;
  match_.route = router_->route_count();
  const RequestReader::Step step = reader_.read_header();
  const bool begins = state_ == State::idle && reader_.has_begun();
  if (begins) {
    state_ = State::header;
    if (options.access_log) started_ = std::chrono::steady_clock::now();
  }
  switch (step) {
    case RequestReader::Step::blocked:
      if (begins) deadline_ = coarse_now() + options.limits.header_timeout;
      return false;
    case RequestReader::Step::ended:
      close(Close::orderly);
      return false;
    case RequestReader::Step::done:
      worker_.own_counters().requests_begun.add();
      begin_request();
      return true;
    case RequestReader::Step::refused:
      worker_.own_counters().requests_begun.add();
      refuse(reader_.refusal().status, reader_.refusal().reason, false);
      return true;
  }
  return false;
}

void Connection::begin_request() {
  const bool has_body = parser_.has_body();
  request_.method = parser_.method();
  request_.is_head = parser_.is_head();
  request_.target = parser_.target();
  request_.peer = peer_;
  request_.socket = socket_.get();
  request_.connection = number_;
  request_.headers = &parser_;
  request_.body = {};
  request_.range.reset();
  range_malformed_ = false;

  Target target;
  if (!parse_target(parser_.target(), path_storage_, target) ||
      (!target.authority.empty() && !iequals(target.authority, parser_.host()))) {
    return refuse(400, "malformed target", !has_body);
  }
  request_.path = target.path;
  request_.query = target.query;
  if (!is_for_us()) return refuse(403, router_->host_rule()->refusal(), !has_body);

  match_ = router_->match(request_.method, request_.path);
  if (match_.handler == nullptr) {
    if (match_.allow.empty()) return refuse(404, "not found", !has_body);
    return refuse(405, "method not allowed for this path", !has_body);
  }
  // Range is defined only for GET (RFC 9110, 14.2).
  if (request_.method == Method::get && !parser_.is_head() && !parser_.range().empty()) {
    const ParsedRange parsed = parse_range(parser_.range());
    if (parsed.form == RangeForm::one) request_.range = parsed.range;
    range_malformed_ = parsed.form == RangeForm::malformed;
  }
  if (!parser_.expect().empty() && !iequals(parser_.expect(), "100-continue")) {
    return refuse(417, "unsupported expectation", !has_body);
  }
  if (!has_body) return dispatch();

  if (parser_.content_length() > match_.body_limit ||
      (parser_.chunked() && match_.body_limit == 0)) {
    return refuse(413, "the request body is too long", false);
  }
  reader_.parser().limit_body(match_.body_limit);
  state_ = State::body;
  deadline_ = coarse_now() + worker_.shared().options.limits.write_timeout;
  if (!parser_.expect().empty() && parser_.version() >= 11 && !reader_.has_rest()) {
    constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    const ssize_t n = ::send(socket_.get(), go_on.data(), go_on.size(), MSG_NOSIGNAL);
    // Nothing else is being sent, so the socket buffer has room unless the client is gone.
    if (n != static_cast<ssize_t>(go_on.size())) close(Close::orderly);
  }
}

// Whether the request's Host is a name of this server.
bool Connection::is_for_us() {
  HostRule* const rule = router_->host_rule();
  if (rule == nullptr) return true;
  const std::uint64_t version = rule->version();
  if (version == allowed_version_ && parser_.host() == allowed_host_) return true;
  if (!rule->allows(parser_.host())) {
    rule->log_refused(parser_.host(), peer_);
    return false;
  }
  allowed_host_ = parser_.host();
  allowed_version_ = version;
  return true;
}

bool Connection::read_body() {
  switch (reader_.read_body()) {
    case RequestReader::Step::blocked:
      return false;
    case RequestReader::Step::ended:
      close(Close::orderly);
      return false;
    case RequestReader::Step::done:
      request_.body = parser_.body();
      dispatch();
      return true;
    case RequestReader::Step::refused:
      refuse(reader_.refusal().status, reader_.refusal().reason, false);
      return true;
  }
  return false;
}

void Connection::dispatch() {
  deadline_ = MonotonicTime::max();
  std::optional<Reply> reply;
  std::exception_ptr error;
  try {
    reply.emplace((*match_.handler)(request_, match_.parameters()));
  } catch (...) {
    error = std::current_exception();
  }
  if (error) return refuse_exception(error);
  if (auto* response = std::get_if<Response>(&reply->value())) return answer(std::move(*response));
  answer_later(std::move(std::get<asio::awaitable<Response>>(reply->value())));
}

void Connection::linger() {
  ::shutdown(socket_.get(), SHUT_WR);
  state_ = State::lingering;
  deadline_ = coarse_now() + linger_time;
}

void Connection::discard_input() {
  switch (reader_.discard()) {
    case RequestReader::Step::done:
      return worker_.run_again(*this);
    case RequestReader::Step::ended:
      return close(Close::orderly);
    case RequestReader::Step::blocked:
    case RequestReader::Step::refused:
      return;
  }
}

void Connection::check_deadline(MonotonicTime now, bool crowded) {
  const Limits& limits = worker_.shared().options.limits;
  MonotonicTime due = deadline_;
  if (crowded && state_ == State::idle) {
    due -= limits.idle_timeout - std::min(limits.idle_timeout, limits.crowded_idle_timeout);
  } else if (crowded && (state_ == State::sending || state_ == State::streaming) &&
             due != MonotonicTime::max()) {
    due -= limits.write_timeout - std::min(limits.write_timeout, limits.crowded_write_timeout);
  }
  if (now < due) return;
  switch (state_) {
    // Never send 408 here: a client about to send its next request would take it for that request's
    // response.
    case State::idle:
      return close(Close::orderly);
    case State::header:
    case State::body:
      worker_.own_counters().timeouts.add();
      if (state_ == State::header) worker_.own_counters().requests_begun.add();
      if (!contain(peer_, [this] { refuse(408, "timeout waiting for the request", false); })) {
        return abort();
      }
      return resume();
    case State::sending:
    case State::streaming:
      worker_.own_counters().timeouts.add();
      return cut_stalled("timeout sending the response");
    case State::lingering:
      return close(Close::orderly);
    case State::handling:
    case State::closed:
      return;
  }
}

void Connection::drain() {
  if (state_ != State::idle) return;
  // Still answer a request that has already arrived.
  reader_.on_readable(false);
  resume();
  if (state_ == State::idle) close(Close::orderly);
}

void Connection::abort() {
  if (state_ == State::closed) return;
  if (state_ == State::handling || state_ == State::sending || state_ == State::streaming) {
    end_request();
  }
  close(Close::reset);
}

void Connection::cut_stalled(std::string_view why) {
  log::debug("{}: the client stalls, connection closed: {}", peer_, why);
  abort();
}

void Connection::close(Close how) {
  if (state_ == State::closed) return;
  worker_.set_queued(*this, 0);
  place_ = PeerLimit::Place();
  if (state_ == State::body) end_request();  // the request has begun, but gets no response
  if (how == Close::reset) {
    const struct ::linger reset = {1, 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  }
  // Closing alone is not enough: a child process that is just being started may hold a copy of the
  // descriptor, and events for the closed connection would still arrive.
  worker_.unwatch(socket_.get());
  socket_.reset();
  state_ = State::closed;
  if (!coroutine_running_) reader_.release();
  worker_.own_counters().connections_closed.add();
  worker_.shared().gate.leave();
  if (coroutine_running_) {
    cancel_.emit(asio::cancellation_type::terminal);
  } else {
    worker_.retire(*this);
  }
}

}  // namespace nixbuild::http
