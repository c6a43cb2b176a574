// How a connection turns a handler's Response into bytes on the socket.
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <cerrno>
#include <cstring>

#include "common/base/log.hpp"
#include "server/http/ascii.hpp"
#include "server/http/connection.hpp"
#include "server/http/contain.hpp"

namespace nixbuild::http {
namespace {

// Bytes of a file sent before other connections get their turn.
constexpr std::uint64_t file_bytes_a_turn = std::uint64_t{4} << 20;
constexpr std::size_t most_per_sendfile = std::size_t{4} << 20;

// While on, the kernel sends only full segments. Worth two system calls for a large file: otherwise
// sendfile(2) ends each of its pieces with a short segment.
void cork(int socket, bool on) {
  const int value = on ? 1 : 0;
  ::setsockopt(socket, IPPROTO_TCP, TCP_CORK, &value, sizeof value);
}

std::string what(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "unknown exception";
  }
}

}  // namespace

void Connection::refuse(unsigned status, std::string_view reason, bool keep) {
  Response response = error_response(*router_, status, reason);
  if (status == 405) response.headers.emplace_back("Allow", match_.allow);
  if (!keep) {
    close_after_ = true;
    input_unread_ = true;
  }
  answer(std::move(response));
}

void Connection::refuse_exception(const std::exception_ptr& error) {
  log::error("{} {}: {}", parser_.method_text(), escaped(parser_.target()), what(error));
  refuse(500, "internal error", true);
}

void Connection::answer_later(asio::awaitable<Response> reply) {
  state_ = State::handling;
  coroutine_running_ = true;
  asio::co_spawn(worker_.executor(), run_handler(std::move(reply)),
                 asio::bind_cancellation_slot(
                     cancel_.slot(), [this](const std::exception_ptr& error, Response response) {
                       on_reply(error, std::move(response));
                     }));
}

// If a coroutine finishes without suspending, co_spawn reports its end through one more co_await,
// outside of any try block. If the client disconnected meanwhile and cancelled this coroutine, that
// co_await would throw into the event loop, and the end would never be reported. So cancellation
// must not throw at the end.
asio::awaitable<Response> Connection::run_handler(asio::awaitable<Response> reply) {
  Response response;
  std::exception_ptr error;
  try {
    response = co_await std::move(reply);
  } catch (...) {
    error = std::current_exception();
  }
  co_await asio::this_coro::throw_if_cancelled(false);
  if (error) std::rethrow_exception(error);
  co_return response;
}

void Connection::on_reply(const std::exception_ptr& error, Response response) {
  coroutine_running_ = false;
  if (state_ == State::closed) return worker_.retire(*this);
  const bool answered = contain(peer_, [&] {
    if (error) {
      refuse_exception(error);
    } else {
      answer(std::move(response));
    }
  });
  if (!answered) return abort();
  resume();
}

void Connection::answer(Response response) {
  response_ = std::move(response);
  ResponseTerms terms;
  terms.method = parser_.method();
  terms.is_head = parser_.is_head();
  terms.version = parser_.version();
  terms.close = close_after_ || !parser_.keep_alive() || worker_.draining();
  terms.if_none_match = parser_.if_none_match();
  terms.if_range = parser_.if_range();
  terms.range = &request_.range;
  terms.range_malformed = range_malformed_;
  terms.target = parser_.target();
  ResponsePlan plan = plan_response(response_, terms, *router_);
  plan.facts.date = worker_.date_line();
  output_.head.clear();
  try {
    append_head(output_.head, response_, plan.facts);
  } catch (const std::logic_error& error) {
    log::error("{} {}: {}", parser_.method_text(), escaped(parser_.target()), error.what());
    response_ = text_response(500, "internal error\n");
    terms.close = plan.close;
    plan = plan_response(response_, terms, *router_);
    plan.facts.date = worker_.date_line();
    output_.head.clear();
    append_head(output_.head, response_, plan.facts);
  }
  close_after_ = plan.close;
  status_ = plan.facts.status;
  framing_ = plan.facts.framing;
  body_ = plan.body;
  output_.body_sent = 0;
  output_.sent = 0;
  deadline_ = MonotonicTime::max();
  if (body_.kind == BodyKind::stream) return start_stream();
  state_ = State::sending;
}

bool Connection::flush() {
  const std::string_view memory =
      body_.kind == BodyKind::memory ? body_.memory : std::string_view();
  const std::size_t total = output_.head.size() + memory.size();
  bool progress = false;
  while (output_.sent < total) {
    std::array<iovec, 2> pieces;
    std::size_t count = 0;
    const auto add = [&](std::string_view piece) {
      if (!piece.empty()) pieces[count++] = {const_cast<char*>(piece.data()), piece.size()};
    };
    add(std::string_view(output_.head).substr(std::min(output_.sent, output_.head.size())));
    add(memory.substr(output_.sent > output_.head.size() ? output_.sent - output_.head.size() : 0));
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = count;
    const bool file_follows = body_.kind == BodyKind::file && body_.length > 0;
    const ssize_t n =
        ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | (file_follows ? MSG_MORE : 0));
    if (n < 0) {
      if (errno == EINTR) continue;
      return send_failed(errno, progress);
    }
    progress = true;
    output_.sent += static_cast<std::size_t>(n);
  }
  if (body_.kind == BodyKind::memory) output_.body_sent = memory.size();
  if (body_.kind == BodyKind::file) return flush_file(progress);
  return true;
}

bool Connection::flush_file(bool progress) {
  const int file = std::get<FileBody>(response_.body).file->get();
  const bool is_large = body_.length >= most_per_sendfile;
  if (is_large && output_.body_sent == 0) cork(socket_.get(), true);
  std::uint64_t sent = 0;
  while (output_.body_sent < body_.length) {
    if (sent >= file_bytes_a_turn) {
      deadline_ = MonotonicTime::max();
      worker_.run_again(*this);
      return false;
    }
    auto offset = static_cast<off_t>(body_.offset + output_.body_sent);
    const auto piece = static_cast<std::size_t>(
        std::min<std::uint64_t>(body_.length - output_.body_sent, most_per_sendfile));
    const ssize_t n = ::sendfile(socket_.get(), file, &offset, piece);
    if (n < 0) {
      if (errno == EINTR) continue;
      return send_failed(errno, progress || sent > 0);
    }
    if (n == 0) {
      cut("the file was truncated");
      return false;
    }
    sent += static_cast<std::uint64_t>(n);
    output_.body_sent += static_cast<std::uint64_t>(n);
  }
  if (is_large) cork(socket_.get(), false);
  return true;
}

// After a failed send: waits for room or ends the connection. Always returns false, for flush().
bool Connection::send_failed(int error, bool progress) {
  if (error == EAGAIN || error == EWOULDBLOCK) {
    if (progress || deadline_ == MonotonicTime::max()) {
      deadline_ = coarse_now() + worker_.shared().options.limits.write_timeout;
      // Text shared by several responses is in memory anyway, so it does not count.
      const auto* text = std::get_if<std::string>(&response_.body);
      if (text != nullptr) worker_.set_queued(*this, text->size());
    }
  } else if (error == EPIPE || error == ECONNRESET || error == ETIMEDOUT) {
    abort();
  } else {
    cut(std::strerror(error));
  }
  return false;
}

void Connection::start_stream() {
  state_ = State::streaming;
  writer_.begin(framing_, body_.length);
  producer_done_ = false;
  stream_error_ = nullptr;
  coroutine_running_ = true;
  asio::co_spawn(worker_.executor(), run_producer(),
                 asio::bind_cancellation_slot(
                     cancel_.slot(), [this](const std::exception_ptr&) { on_stream_end(); }));
  // The producer ran until it first had to wait. If it does not wait for the client, send the head
  // ahead of the body, so that the client sees an event stream open.
  if (state_ == State::streaming && !producer_done_) writer_.send_head();
}

asio::awaitable<void> Connection::run_producer() {
  try {
    const StreamBody& stream = std::get<StreamBody>(response_.body);
    asio::awaitable<void> body = stream.produce(writer_, body_.offset, body_.length);
    co_await std::move(body);
  } catch (...) {
    stream_error_ = std::current_exception();
  }
  co_await asio::this_coro::throw_if_cancelled(false);  // as in run_handler
  producer_done_ = true;
}

void Connection::on_stream_end() {
  coroutine_running_ = false;
  if (state_ == State::closed) return worker_.retire(*this);
  if (stream_error_) {
    const std::exception_ptr error = std::exchange(stream_error_, nullptr);
    if (writer_.started()) return cut(what(error));
    // Nothing has been sent yet, so the client can still get an error response.
    if (!contain(peer_, [&] { refuse_exception(error); })) return abort();
    return resume();
  }
  if (!writer_.finish()) return cut("the body does not have the announced length");
  body_.kind = BodyKind::none;
  state_ = State::sending;
  resume();
}

void Connection::wait_for_client(std::size_t queued_bytes) {
  deadline_ = coarse_now() + worker_.shared().options.limits.write_timeout;
  worker_.set_queued(*this, queued_bytes);
}

void Connection::wait_no_longer() {
  deadline_ = MonotonicTime::max();
  worker_.set_queued(*this, 0);
}

void Connection::cut(std::string_view why) {
  log::warn("{} {}: cut after {} bytes: {}", parser_.method_text(), escaped(parser_.target()),
            output_.body_sent, why);
  // If closing the connection marks the end of the body, only a reset shows that it is incomplete.
  const bool reset = framing_ == Framing::close;
  end_request();
  close(reset ? Close::reset : Close::orderly);
}

void Connection::finish_response() {
  end_request();
  if (close_after_ || worker_.draining()) {
    if (input_unread_ || reader_.has_rest() || reader_.is_readable()) return linger();
    return close(Close::orderly);
  }
  state_ = State::idle;
  reader_.next_request();
  deadline_ = coarse_now() + worker_.shared().options.limits.idle_timeout;
}

// Counts the request, whether it was answered or interrupted, and releases its response.
void Connection::end_request() {
  const ServerShared& shared = worker_.shared();
  WorkerCounters& counters = worker_.own_counters();
  counters.requests_ended.add();
  counters.bytes_sent.add(output_.body_sent);
  if (status_ != 0 && router_.get() == shared.counted_router) {
    counters
        .responses[std::min(match_.route, counters.responses.size() - 1)]
                  [std::min(status_ / 100, 5U)]
        .add();
  }
  if (shared.options.access_log) {
    const std::chrono::duration<double, std::milli> time =
        std::chrono::steady_clock::now() - started_;
    log::info("{} \"{} {}\" {} {} {:.1f} ms", peer_, escaped(parser_.method_text()),
              escaped(parser_.target()), status_, output_.body_sent, time.count());
  }
  status_ = 0;
  if (queued > 0) worker_.set_queued(*this, 0);
  if (!coroutine_running_) response_.body = std::monostate{};
}

}  // namespace nixbuild::http
