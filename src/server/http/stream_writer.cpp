#include "server/http/stream_writer.hpp"

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
// A producer whose client reads fast enough never has to wait; after this many bytes it yields to
// the thread's other connections.
constexpr std::uint64_t bytes_a_turn = std::uint64_t{1} << 20;
constexpr unsigned pieces_a_turn = 64;

[[noreturn]] void throw_gone() {
  throw ClientGone("the client disconnected or stalled");
}

bool is_gone(int error) {
  return error == EPIPE || error == ECONNRESET || error == ETIMEDOUT;
}

}  // namespace

void StreamWriter::begin(Framing framing, std::uint64_t length) {
  framing_ = framing;
  left_ = length;
  started_ = chunk_open_ = broken_ = false;
  pieces_ = 0;
  bytes_since_yield_ = 0;
}

void StreamWriter::send_head() {
  if (started_) return;
  std::string_view none;
  send_some(none, none, MSG_NOSIGNAL);
}

bool StreamWriter::finish() {
  if (broken_ || (framing_ == Framing::length && left_ > 0)) return false;
  output_.head.erase(0, output_.sent);
  output_.sent = 0;
  if (framing_ == Framing::chunked) output_.head += chunk_open_ ? "\r\n0\r\n\r\n" : "0\r\n\r\n";
  return true;
}

// Records that `length` bytes are about to be sent, and begins their chunk.
void StreamWriter::announce(std::uint64_t length) {
  if (!connection_.is_streaming() || broken_) throw_gone();
  if (framing_ == Framing::length) {
    if (length > left_) {
      broken_ = true;
      throw Error(
          fmt::format("the body is longer than announced, by {} bytes or more", length - left_));
    }
    left_ -= length;
  }
  if (output_.sent == output_.head.size()) {
    output_.head.clear();
    output_.sent = 0;
  }
  if (framing_ == Framing::chunked) {
    if (chunk_open_) output_.head += "\r\n";
    output_.head += fmt::format("{:x}\r\n", length);
    chunk_open_ = true;
  }
}

asio::awaitable<void> StreamWriter::write(std::string_view bytes) {
  if (bytes.empty()) co_return;
  announce(bytes.size());
  // If the length is known, more data follows soon, so let the kernel fill its packets; otherwise a
  // client may be waiting for these bytes.
  const int flags = MSG_NOSIGNAL | (framing_ == Framing::length && left_ > 0 ? MSG_MORE : 0);
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

asio::awaitable<void> StreamWriter::send_file(int fd, std::uint64_t offset, std::uint64_t length) {
  if (length == 0) co_return;
  announce(length);
  std::string_view none;
  while (output_.sent < output_.head.size()) {
    const IoResult result = send_some(none, none, MSG_NOSIGNAL | MSG_MORE);
    if (result == IoResult::blocked) co_await until_writable(0);
    if (result == IoResult::failed) throw_gone();
  }
  while (length > 0) {
    auto position = static_cast<off_t>(offset);
    const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(length, sendfile_piece));
    const ssize_t n = ::sendfile(connection_.fd(), fd, &position, piece);
    const int error = n < 0 ? errno : 0;
    if (n > 0) {
      offset += static_cast<std::uint64_t>(n);
      length -= static_cast<std::uint64_t>(n);
      output_.body_sent += static_cast<std::uint64_t>(n);
      bytes_since_yield_ += static_cast<std::uint64_t>(n);
      if (bytes_since_yield_ >= bytes_a_turn) co_await yield_turn();
    } else if (n == 0) {
      broken_ = true;
      throw Error(fmt::format("the file ended {} bytes before its announced length", length));
    } else if (error == EAGAIN || error == EWOULDBLOCK) {
      co_await until_writable(0);
    } else if (error != EINTR) {
      broken_ = true;
      if (!is_gone(error)) throw SystemError(error, "sending a file");
      connection_.abort();
      throw_gone();
    }
  }
  if (++pieces_ >= pieces_a_turn) co_await yield_turn();
}

// Sends the rest of output_.head, then `bytes`, then `tail`, and removes what was sent.
StreamWriter::IoResult StreamWriter::send_some(std::string_view& bytes, std::string_view& tail,
                                               int flags) {
  std::array<iovec, 3> pieces;
  std::size_t count = 0;
  const auto add = [&](std::string_view piece) {
    if (!piece.empty()) pieces[count++] = {const_cast<char*>(piece.data()), piece.size()};
  };
  add(std::string_view(output_.head).substr(output_.sent));
  add(bytes);
  add(tail);
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = count;
  const ssize_t n = ::sendmsg(connection_.fd(), &message, flags);
  if (n < 0) {
    if (errno == EINTR) return IoResult::done;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return IoResult::blocked;
    broken_ = true;
    connection_.abort();
    return IoResult::failed;
  }
  started_ = true;
  auto left = static_cast<std::size_t>(n);
  const auto take = [&left](std::size_t size) {
    const std::size_t taken = std::min(left, size);
    left -= taken;
    return taken;
  };
  output_.sent += take(output_.head.size() - output_.sent);
  const std::size_t body = take(bytes.size());
  bytes.remove_prefix(body);
  output_.body_sent += body;
  bytes_since_yield_ += body;
  tail.remove_prefix(take(tail.size()));
  return IoResult::done;
}

// Returns when the socket may have room again; meanwhile the producer keeps `queued_bytes` in
// memory. Throws ClientGone if the connection has ended.
asio::awaitable<void> StreamWriter::until_writable(std::size_t queued_bytes) {
  struct Registration {
    StreamWriter& writer;
    ~Registration() { writer.room_ = nullptr; }
  };
  async::Waiter room(connection_.executor());
  room_ = &room;
  const Registration registration{*this};
  connection_.wait_for_client(queued_bytes);
  asio::awaitable<void> waiting = room.wait();
  co_await std::move(waiting);
  connection_.wait_no_longer();
  pieces_ = 0;
  bytes_since_yield_ = 0;
  if (!connection_.is_streaming()) throw_gone();
}

asio::awaitable<void> StreamWriter::yield_turn() {
  pieces_ = 0;
  bytes_since_yield_ = 0;
  co_await asio::post(connection_.executor(), asio::use_awaitable);
  if (!connection_.is_streaming()) throw_gone();
}

}  // namespace nixbuild::http
