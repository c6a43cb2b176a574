// The side of a connection that a StreamBody's producer writes to.
#include <fmt/format.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>

#include "common/base/error.hpp"
#include "server/http/connection.hpp"

namespace nixbuild::http {
namespace {

constexpr std::size_t sendfile_piece = std::size_t{1} << 20;
// A producer whose client takes everything at once never has to wait; so much it may send before
// the thread's other connections get their turn.
constexpr std::uint64_t bytes_a_turn = std::uint64_t{1} << 20;
constexpr unsigned pieces_a_turn = 64;

[[noreturn]] void throw_gone() {
  throw ClientGone("the client has gone or takes nothing any more");
}

bool is_gone(int error) {
  return error == EPIPE || error == ECONNRESET || error == ETIMEDOUT;
}

}  // namespace

// Takes `length` bytes as about to be sent, and begins their chunk.
void Connection::announce(std::uint64_t length) {
  if (state_ != State::streaming || stream_broken_) throw_gone();
  if (framing_ == Framing::length) {
    if (length > stream_left_) {
      stream_broken_ = true;
      throw Error(fmt::format("the body is longer than announced, by {} bytes or more",
                              length - stream_left_));
    }
    stream_left_ -= length;
  }
  if (sent_ == head_.size()) {
    head_.clear();
    sent_ = 0;
  }
  if (framing_ == Framing::chunked) {
    if (chunk_open_) head_ += "\r\n";
    head_ += fmt::format("{:x}\r\n", length);
    chunk_open_ = true;
  }
}

asio::awaitable<void> Connection::write(std::string_view bytes) {
  if (bytes.empty()) co_return;
  announce(bytes.size());
  // In a body of known length more is about to follow, and the kernel may fill its packets; where
  // the length is open somebody may be waiting for just these bytes.
  const int flags = MSG_NOSIGNAL | (framing_ == Framing::length && stream_left_ > 0 ? MSG_MORE : 0);
  std::string_view tail;
  if (framing_ == Framing::chunked) {
    tail = "\r\n";
    chunk_open_ = false;
  }
  while (!bytes.empty() || !tail.empty()) {
    const IoResult result = send_some(bytes, tail, flags);
    if (result == IoResult::blocked) co_await until_writable(bytes.size());
    if (result == IoResult::failed) throw_gone();
  }
  if (++pieces_ >= pieces_a_turn || bytes_since_yield_ >= bytes_a_turn) co_await yield_turn();
}

asio::awaitable<void> Connection::send_file(int fd, std::uint64_t offset, std::uint64_t length) {
  if (length == 0) co_return;
  announce(length);
  std::string_view none;
  while (sent_ < head_.size()) {
    const IoResult result = send_some(none, none, MSG_NOSIGNAL | MSG_MORE);
    if (result == IoResult::blocked) co_await until_writable(0);
    if (result == IoResult::failed) throw_gone();
  }
  while (length > 0) {
    auto position = static_cast<off_t>(offset);
    const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(length, sendfile_piece));
    const ssize_t n = ::sendfile(socket_.get(), fd, &position, piece);
    const int error = n < 0 ? errno : 0;
    if (n > 0) {
      offset += static_cast<std::uint64_t>(n);
      length -= static_cast<std::uint64_t>(n);
      body_sent_ += static_cast<std::uint64_t>(n);
      bytes_since_yield_ += static_cast<std::uint64_t>(n);
      if (bytes_since_yield_ >= bytes_a_turn) co_await yield_turn();
    } else if (n == 0) {
      stream_broken_ = true;
      throw Error(fmt::format("a file ended {} bytes before its announced length", length));
    } else if (error == EAGAIN || error == EWOULDBLOCK) {
      co_await until_writable(0);
    } else if (error != EINTR) {
      stream_broken_ = true;
      if (!is_gone(error)) throw SystemError(error, "sending a file");
      abort();
      throw_gone();
    }
  }
  if (++pieces_ >= pieces_a_turn) co_await yield_turn();
}

// Sends from what is left of head_, then `bytes`, then `tail`, and takes off what was sent.
Connection::IoResult Connection::send_some(std::string_view& bytes, std::string_view& tail,
                                           int flags) {
  std::array<iovec, 3> pieces;
  std::size_t count = 0;
  const auto add = [&](std::string_view piece) {
    if (!piece.empty()) pieces[count++] = {const_cast<char*>(piece.data()), piece.size()};
  };
  add(std::string_view(head_).substr(sent_));
  add(bytes);
  add(tail);
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = count;
  const ssize_t n = ::sendmsg(socket_.get(), &message, flags);
  if (n < 0) {
    if (errno == EINTR) return IoResult::done;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return IoResult::blocked;
    stream_broken_ = true;
    abort();
    return IoResult::failed;
  }
  head_started_ = true;
  auto left = static_cast<std::size_t>(n);
  const auto take = [&left](std::size_t size) {
    const std::size_t taken = std::min(left, size);
    left -= taken;
    return taken;
  };
  sent_ += take(head_.size() - sent_);
  const std::size_t body = take(bytes.size());
  bytes.remove_prefix(body);
  body_sent_ += body;
  bytes_since_yield_ += body;
  tail.remove_prefix(take(tail.size()));
  return IoResult::done;
}

// Returns when the socket may have room again; meanwhile the producer keeps `queued_bytes` in
// memory. Throws ClientGone when the connection has ended.
asio::awaitable<void> Connection::until_writable(std::size_t queued_bytes) {
  struct Registration {
    Connection& connection;
    ~Registration() { connection.writable_ = nullptr; }
  };
  async::Waiter writable(worker_.executor());
  writable_ = &writable;
  const Registration registration{*this};
  deadline_ = coarse_now() + worker_.shared().options.limits.write_timeout;
  worker_.set_queued(*this, queued_bytes);
  asio::awaitable<void> waiting = writable.wait();
  co_await std::move(waiting);
  worker_.set_queued(*this, 0);
  deadline_ = MonotonicTime::max();
  pieces_ = 0;
  bytes_since_yield_ = 0;
  if (state_ != State::streaming) throw_gone();
}

asio::awaitable<void> Connection::yield_turn() {
  pieces_ = 0;
  bytes_since_yield_ = 0;
  co_await asio::post(worker_.executor(), asio::use_awaitable);
  if (state_ != State::streaming) throw_gone();
}

}  // namespace nixbuild::http
