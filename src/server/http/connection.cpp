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
#include "server/http/contain.hpp"
#include "server/http/host_rule.hpp"
#include "server/http/target.hpp"

namespace nixbuild::http {
namespace {

// How long a client gets to take its answer and close, when it may still be sending: closing at
// once would reset the connection, and the answer could be lost with it.
constexpr std::chrono::milliseconds linger_time{5'000};
// Pipelined requests answered before other connections get their turn.
constexpr unsigned requests_a_turn = 32;
// Bytes thrown away before other connections get their turn.
constexpr std::size_t discarded_a_turn = std::size_t{1} << 20;

}  // namespace

Connection::Connection(Worker& worker, UniqueFd socket, std::shared_ptr<const Router> router,
                       std::string peer, PeerLimit::Place place)
    : worker_(worker),
      socket_(std::move(socket)),
      router_(std::move(router)),
      peer_(std::move(peer)),
      place_(std::move(place)),
      parser_(worker.shared().options.limits.target_size) {
  deadline_ = coarse_now() + worker_.shared().options.limits.idle_timeout;
}

Connection::~Connection() = default;

void Connection::on_event(std::uint32_t events) {
  if (state_ == State::closed) return;
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) readable_ = true;
  // Behind the client's end of sending there is no further event to wait for.
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) input_ended_ = true;
  if (state_ == State::handling || state_ == State::streaming) {
    // A client that has only ended its sending still gets its answer; one that is gone does not.
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
      abort();
    } else if ((events & EPOLLOUT) != 0 && writable_ != nullptr) {
      writable_->wake();
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

bool Connection::receive() {
  if (!readable_) return false;
  if (!buffer_) buffer_ = worker_.take_buffer();
  const std::size_t room = worker_.buffer_size() - end_;
  for (;;) {
    const ssize_t n = ::recv(socket_.get(), buffer_.get() + end_, room, 0);
    if (n > 0) {
      end_ += static_cast<std::size_t>(n);
      if (static_cast<std::size_t>(n) < room && !input_ended_) readable_ = false;
      return true;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      readable_ = false;
      return false;
    }
    close(Close::orderly);
    return false;
  }
}

bool Connection::read_header() {
  const Limits& limits = worker_.shared().options.limits;
  for (;;) {
    // An empty line before a request is passed over (RFC 9112, 2.2).
    while (state_ == State::idle && end_ - request_start_ >= 2 && buffer_[request_start_] == '\r' &&
           buffer_[request_start_ + 1] == '\n') {
      request_start_ += 2;
    }
    const std::size_t size = end_ - request_start_;
    const bool only_break = size == 1 && buffer_[request_start_] == '\r';
    if (size > 0 && !only_break) {
      if (state_ == State::idle) {
        state_ = State::header;
        // Views of the head point into the buffer, so it is moved, if at all, before any exists:
        // where the head or, behind it, what frames a body might not have room.
        const std::size_t body_room = worker_.buffer_size() - limits.header_size;
        const void* const head_end = ::memmem(buffer_.get() + request_start_, size, "\r\n\r\n", 4);
        if (request_start_ > 0 &&
            (head_end == nullptr || static_cast<const char*>(head_end) + body_room >
                                        buffer_.get() + worker_.buffer_size())) {
          std::memmove(buffer_.get(), buffer_.get() + request_start_, size);
          request_start_ = 0;
          end_ = size;
        }
        parser_.begin();
        deadline_ = MonotonicTime::max();
        if (worker_.shared().options.access_log) started_ = std::chrono::steady_clock::now();
      }
      match_.route = router_->route_count();
      switch (parser_.parse_header({buffer_.get() + request_start_, size})) {
        case RequestParser::State::done:
          begin_ = request_start_ + parser_.header_size();
          worker_.own_counters().requests_begun.add();
          if (parser_.header_size() > limits.header_size) {
            refuse(431, "too many headers", false);
          } else {
            begin_request();
          }
          return true;
        case RequestParser::State::failed:
          begin_ = end_;
          worker_.own_counters().requests_begun.add();
          refuse(parser_.refusal().status, parser_.refusal().reason, false);
          return true;
        case RequestParser::State::need_more:
          break;
      }
      if (size >= limits.header_size) {
        begin_ = end_;
        worker_.own_counters().requests_begun.add();
        refuse(431, "too many headers", false);
        return true;
      }
      if (deadline_ == MonotonicTime::max()) deadline_ = coarse_now() + limits.header_timeout;
    } else if (request_start_ > 0) {
      if (only_break) buffer_[0] = '\r';
      request_start_ = 0;
      end_ = size;
    }
    if (!receive()) {
      if (state_ == State::idle && buffer_ && end_ == request_start_) {
        worker_.give_buffer(std::move(buffer_));
      }
      return false;
    }
  }
}

void Connection::begin_request() {
  const bool has_body = parser_.has_body();
  request_.method = parser_.method();
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
    return refuse(405, "this method is not for this path", !has_body);
  }
  // A range is defined for GET alone (RFC 9110, 14.2).
  if (request_.method == Method::get && !parser_.is_head() && !parser_.range().empty()) {
    const ParsedRange parsed = parse_range(parser_.range());
    if (parsed.form == RangeForm::one) request_.range = parsed.range;
    range_malformed_ = parsed.form == RangeForm::malformed;
  }
  if (!parser_.expect().empty() && !iequals(parser_.expect(), "100-continue")) {
    return refuse(417, "this expectation cannot be met", !has_body);
  }
  if (!has_body) return dispatch();

  if (parser_.content_length() > match_.body_limit ||
      (parser_.chunked() && match_.body_limit == 0)) {
    return refuse(413, "the request's body is too long", false);
  }
  parser_.limit_body(match_.body_limit);
  state_ = State::body;
  deadline_ = coarse_now() + worker_.shared().options.limits.write_timeout;
  if (!parser_.expect().empty() && parser_.version() >= 11 && begin_ == end_) {
    constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    const ssize_t n = ::send(socket_.get(), go_on.data(), go_on.size(), MSG_NOSIGNAL);
    // Nothing else is under way, so the kernel has room for it unless the client is gone.
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
  for (;;) {
    std::size_t consumed = 0;
    const auto state = parser_.parse_body({buffer_.get() + begin_, end_ - begin_}, consumed);
    begin_ += consumed;
    if (state == RequestParser::State::done) {
      request_.body = parser_.body();
      dispatch();
      return true;
    }
    if (state == RequestParser::State::failed) {
      refuse(parser_.refusal().status, parser_.refusal().reason, false);
      return true;
    }
    make_room();
    if (end_ == worker_.buffer_size()) {
      refuse(431, "a chunk's header is too long", false);
      return true;
    }
    if (!receive()) return false;
  }
}

// Makes what the body took free again; the head stays where the request's views point.
void Connection::make_room() {
  const std::size_t head_end = request_start_ + parser_.header_size();
  std::memmove(buffer_.get() + head_end, buffer_.get() + begin_, end_ - begin_);
  end_ = head_end + (end_ - begin_);
  begin_ = head_end;
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
  begin_ = end_ = request_start_ = 0;
}

void Connection::discard_input() {
  if (!buffer_) buffer_ = worker_.take_buffer();
  std::size_t discarded = 0;
  while (readable_) {
    const ssize_t n = ::recv(socket_.get(), buffer_.get(), worker_.buffer_size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      readable_ = false;
      return;
    }
    if (n <= 0) return close(Close::orderly);
    discarded += static_cast<std::size_t>(n);
    if (discarded >= discarded_a_turn) return worker_.run_again(*this);
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
    // Never a 408 here: a client that is just about to send its next request would take it for the
    // answer to that.
    case State::idle:
      return close(Close::orderly);
    case State::header:
    case State::body:
      worker_.own_counters().timeouts.add();
      if (state_ == State::header) worker_.own_counters().requests_begun.add();
      if (!contain(peer_, [this] { refuse(408, "the request did not come in time", false); })) {
        return abort();
      }
      return resume();
    case State::sending:
    case State::streaming:
      worker_.own_counters().timeouts.add();
      return cut_stalled("nothing was taken in time");
    case State::lingering:
      return close(Close::orderly);
    case State::handling:
    case State::closed:
      return;
  }
}

void Connection::drain() {
  if (state_ != State::idle) return;
  // A request that is already here is still answered.
  readable_ = true;
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
  if (state_ == State::body) end_request();  // it has begun, and gets no answer
  if (how == Close::reset) {
    const struct ::linger reset = {1, 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  }
  // Closing alone would leave it watched while a child process that is just being started holds a
  // copy, and events would come for what is gone.
  worker_.unwatch(socket_.get());
  socket_.reset();
  state_ = State::closed;
  if (buffer_ && !coroutine_running_) worker_.give_buffer(std::move(buffer_));
  worker_.own_counters().connections_closed.add();
  worker_.shared().gate.leave();
  if (coroutine_running_) {
    cancel_.emit(asio::cancellation_type::terminal);
  } else {
    worker_.retire(*this);
  }
}

}  // namespace nixbuild::http
