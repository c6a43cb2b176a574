// How a connection answers: from a handler's Response to bytes on the socket.
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
constexpr std::size_t sendfile_piece = std::size_t{4} << 20;

// Has the kernel send whole segments only, for as long as more is to come. Worth its two calls for
// a large file: sendfile(2) otherwise ends each of its pieces with a short segment.
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

bool bodiless(unsigned status) {
  return status < 200 || status == 204 || status == 304;
}

}  // namespace

Response Connection::error_response(unsigned status, std::string_view reason) const {
  Response response;
  if (contain("making an answer", [&] { response = router_->error_response(status, reason); })) {
    return response;
  }
  return text_response(status, std::string(reason) + "\n");
}

void Connection::refuse(unsigned status, std::string_view reason, bool keep) {
  Response response = error_response(status, reason);
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

// co_spawn reports the end of a coroutine that never had to wait by way of one more co_await,
// outside of any try block. If the client went meanwhile, and this coroutine was cancelled, that
// would throw into the event loop, and the end would never be reported. So cancellation ends here.
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
  HeadFacts facts;
  facts.status = response_.status;
  select_body(facts);
  if (facts.status == 200 && parser_.method() == Method::get) {
    if (!parser_.if_none_match().empty() &&
        none_match_hits(parser_.if_none_match(), response_.etag)) {
      facts.status = 304;
    } else if (response_.accept_ranges && (request_.range || range_malformed_) &&
               if_range_holds(parser_.if_range(), response_.etag)) {
      apply_range(facts);
    }
  }
  if (bodiless(facts.status)) {
    facts.framing = Framing::none;
    body_kind_ = BodyKind::none;
  } else if (facts.framing == Framing::chunked && parser_.version() < 11) {
    facts.framing = Framing::close;
    close_after_ = true;
  }
  if (!parser_.keep_alive() || worker_.draining()) close_after_ = true;
  if (close_after_) {
    facts.connection = "close";
  } else if (parser_.version() < 11) {
    facts.connection = "keep-alive";
  }
  if (parser_.is_head()) body_kind_ = BodyKind::none;
  facts.date = worker_.date_line();
  head_.clear();
  try {
    append_head(head_, response_, facts);
  } catch (const std::logic_error& error) {
    log::error("{} {}: {}", parser_.method_text(), escaped(parser_.target()), error.what());
    response_ = text_response(500, "internal error\n");
    HeadFacts failure;
    failure.status = 500;
    failure.date = facts.date;
    failure.connection = facts.connection;
    facts = failure;
    select_body(facts);
    if (parser_.is_head()) body_kind_ = BodyKind::none;
    head_.clear();
    append_head(head_, response_, facts);
  }
  status_ = facts.status;
  framing_ = facts.framing;
  body_sent_ = 0;
  sent_ = 0;
  deadline_ = MonotonicTime::max();
  if (body_kind_ == BodyKind::stream) return start_stream();
  state_ = State::sending;
}

// Takes what kind of body the response has, and which bytes of it are to be sent: all.
void Connection::select_body(HeadFacts& facts) {
  body_kind_ = BodyKind::none;
  body_offset_ = 0;
  body_length_ = 0;
  if (const auto* text = std::get_if<std::string>(&response_.body)) {
    body_kind_ = BodyKind::memory;
    memory_ = *text;
    body_length_ = memory_.size();
  } else if (const auto* shared = std::get_if<SharedText>(&response_.body)) {
    body_kind_ = BodyKind::memory;
    memory_ = *shared ? std::string_view(**shared) : std::string_view();
    body_length_ = memory_.size();
  } else if (const auto* file = std::get_if<FileBody>(&response_.body)) {
    body_kind_ = BodyKind::file;
    body_length_ = file->size;
  } else if (const auto* stream = std::get_if<StreamBody>(&response_.body)) {
    body_kind_ = BodyKind::stream;
    body_length_ = stream->size.value_or(UINT64_MAX);
    if (!stream->size) facts.framing = Framing::chunked;
  }
  facts.length = body_length_;
}

void Connection::apply_range(HeadFacts& facts) {
  const bool size_known = facts.framing != Framing::chunked;
  const std::uint64_t size = body_length_;
  if (request_.range && !size_known) {
    // A 200 would be taken for the range; the client's resumed file would be garbage.
    log::error("{}: a range was asked for, but the answer came without a size",
               escaped(parser_.target()));
    replace_by_error(facts, 500, "internal error");
    return;
  }
  std::optional<ByteSpan> span;
  if (request_.range) span = resolve_range(*request_.range, size, response_.empty_range_at_end);
  if (!span) {
    std::string content_range = size_known ? fmt::format("bytes */{}", size) : std::string();
    replace_by_error(facts, 416, "this range lies outside of what is here");
    facts.content_range = std::move(content_range);
    return;
  }
  facts.status = 206;
  facts.length = span->length;
  // An empty span cannot be written as first-last; clients read the first number alone.
  facts.content_range =
      span->length > 0
          ? fmt::format("bytes {}-{}/{}", span->offset, span->offset + span->length - 1, size)
          : fmt::format("bytes {}-{}/{}", size, size - std::min<std::uint64_t>(1, size), size);
  body_offset_ = span->offset;
  body_length_ = span->length;
  if (body_kind_ == BodyKind::memory) memory_ = memory_.substr(span->offset, span->length);
}

void Connection::replace_by_error(HeadFacts& facts, unsigned status, std::string_view reason) {
  response_ = error_response(status, reason);
  response_.accept_ranges = true;
  facts = {};
  facts.status = status;
  select_body(facts);
}

bool Connection::flush() {
  const std::string_view memory = body_kind_ == BodyKind::memory ? memory_ : std::string_view();
  const std::size_t total = head_.size() + memory.size();
  bool progress = false;
  while (sent_ < total) {
    std::array<iovec, 2> pieces;
    std::size_t count = 0;
    const auto add = [&](std::string_view piece) {
      if (!piece.empty()) pieces[count++] = {const_cast<char*>(piece.data()), piece.size()};
    };
    add(std::string_view(head_).substr(std::min(sent_, head_.size())));
    add(memory.substr(sent_ > head_.size() ? sent_ - head_.size() : 0));
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = count;
    const bool file_follows = body_kind_ == BodyKind::file && body_length_ > 0;
    const ssize_t n =
        ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | (file_follows ? MSG_MORE : 0));
    if (n < 0) {
      if (errno == EINTR) continue;
      return send_failed(errno, progress);
    }
    progress = true;
    sent_ += static_cast<std::size_t>(n);
  }
  if (body_kind_ == BodyKind::memory) body_sent_ = memory.size();
  if (body_kind_ == BodyKind::file) return flush_file(progress);
  return true;
}

bool Connection::flush_file(bool progress) {
  const int file = std::get<FileBody>(response_.body).file->get();
  const bool is_large = body_length_ >= sendfile_piece;
  if (is_large && body_sent_ == 0) cork(socket_.get(), true);
  std::uint64_t sent = 0;
  while (body_sent_ < body_length_) {
    if (sent >= file_bytes_a_turn) {
      deadline_ = MonotonicTime::max();
      worker_.run_again(*this);
      return false;
    }
    auto offset = static_cast<off_t>(body_offset_ + body_sent_);
    const auto piece = static_cast<std::size_t>(
        std::min<std::uint64_t>(body_length_ - body_sent_, sendfile_piece));
    const ssize_t n = ::sendfile(socket_.get(), file, &offset, piece);
    if (n < 0) {
      if (errno == EINTR) continue;
      return send_failed(errno, progress || sent > 0);
    }
    if (n == 0) {
      cut("the file has become shorter");
      return false;
    }
    sent += static_cast<std::uint64_t>(n);
    body_sent_ += static_cast<std::uint64_t>(n);
  }
  if (is_large) cork(socket_.get(), false);
  return true;
}

// After a failed send: waits for room, or ends the connection. Always false, for flush's sake.
bool Connection::send_failed(int error, bool progress) {
  if (error == EAGAIN || error == EWOULDBLOCK) {
    if (progress || deadline_ == MonotonicTime::max()) {
      deadline_ = coarse_now() + worker_.shared().options.limits.write_timeout;
      // Text that several responses share is in memory anyway.
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
  stream_left_ = body_length_;
  head_started_ = chunk_open_ = stream_broken_ = producer_done_ = false;
  pieces_ = 0;
  bytes_since_yield_ = 0;
  stream_error_ = nullptr;
  coroutine_running_ = true;
  asio::co_spawn(worker_.executor(), run_producer(),
                 asio::bind_cancellation_slot(
                     cancel_.slot(), [this](const std::exception_ptr&) { on_stream_end(); }));
  // The producer has run until it first had to wait. When that was not for the client, the head
  // goes ahead of the body, so that a client sees an event stream open.
  if (state_ == State::streaming && !producer_done_ && !head_started_) {
    std::string_view none;
    send_some(none, none, MSG_NOSIGNAL);
  }
}

asio::awaitable<void> Connection::run_producer() {
  try {
    const StreamBody& stream = std::get<StreamBody>(response_.body);
    asio::awaitable<void> body = stream.produce(*this, body_offset_, body_length_);
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
    if (head_started_) return cut(what(error));
    // Nothing has left yet, so the client can still be told.
    if (!contain(peer_, [&] { refuse_exception(error); })) return abort();
    return resume();
  }
  if (stream_broken_ || (framing_ == Framing::length && stream_left_ > 0)) {
    return cut("the body is not as long as announced");
  }
  head_.erase(0, sent_);
  sent_ = 0;
  if (framing_ == Framing::chunked) head_ += chunk_open_ ? "\r\n0\r\n\r\n" : "0\r\n\r\n";
  body_kind_ = BodyKind::none;
  state_ = State::sending;
  resume();
}

void Connection::cut(std::string_view why) {
  log::warn("{} {}: cut after {} bytes: {}", parser_.method_text(), escaped(parser_.target()),
            body_sent_, why);
  // Where the end of the connection is the end of the body, only a reset tells that it is not.
  const bool reset = framing_ == Framing::close;
  end_request();
  close(reset ? Close::reset : Close::orderly);
}

void Connection::finish_response() {
  end_request();
  if (close_after_ || worker_.draining()) {
    if (input_unread_ || begin_ < end_ || readable_) return linger();
    return close(Close::orderly);
  }
  state_ = State::idle;
  request_start_ = begin_;
  if (begin_ == end_) {
    request_start_ = begin_ = end_ = 0;
    if (!readable_) worker_.give_buffer(std::move(buffer_));
  }
  deadline_ = coarse_now() + worker_.shared().options.limits.idle_timeout;
}

// Accounts for the request, whether it was answered or cut, and lets go of its response.
void Connection::end_request() {
  const ServerShared& shared = worker_.shared();
  WorkerCounters& counters = worker_.own_counters();
  counters.requests_ended.add();
  counters.bytes_sent.add(body_sent_);
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
              escaped(parser_.target()), status_, body_sent_, time.count());
  }
  status_ = 0;
  if (queued > 0) worker_.set_queued(*this, 0);
  if (!coroutine_running_) response_.body = std::monostate{};
}

}  // namespace nixbuild::http
