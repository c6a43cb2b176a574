// The BodyWriter of a connection: frames what a StreamBody's producer writes, sends it, and makes
// the producer wait for a slow client.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "server/async/waiter.hpp"
#include "server/http/response.hpp"
#include "server/http/response_head.hpp"

namespace nixbuild::http {

class Connection;

// Bytes on their way to a client.
struct Output {
  std::string head;             // and, of a streamed body, what frames the next piece
  std::size_t sent = 0;         // of `head`, and of a body in memory behind it
  std::uint64_t body_sent = 0;  // bytes of the body
};

class StreamWriter final : public BodyWriter {
 public:
  StreamWriter(Connection& connection, Output& output) : connection_(connection), output_(output) {}

  // `length`: of the body, UINT64_MAX if it is not known.
  void begin(Framing framing, std::uint64_t length);
  // Sends the head ahead of the body, unless a byte of it has left already.
  void send_head();
  // Whether a byte of the response has left.
  bool started() const noexcept { return started_; }
  // The producer has returned. Appends the end of the framing to the output; false if the body is
  // not what was announced.
  bool finish();
  // The socket has room again, or the connection has ended.
  void wake() {
    if (room_ != nullptr) room_->wake();
  }

  asio::awaitable<void> write(std::string_view bytes) override;
  asio::awaitable<void> send_file(int fd, std::uint64_t offset, std::uint64_t length) override;

 private:
  enum class IoResult : std::uint8_t { done, blocked, failed };

  void announce(std::uint64_t length);
  IoResult send_some(std::string_view& bytes, std::string_view& tail, int flags);
  asio::awaitable<void> until_writable(std::size_t queued_bytes);
  asio::awaitable<void> yield_turn();

  Connection& connection_;
  Output& output_;
  Framing framing_ = Framing::length;
  std::uint64_t left_ = 0;  // bytes still to come, if the length is known
  bool started_ = false;
  bool chunk_open_ = false;  // the line break behind the last chunk is still owed
  bool broken_ = false;
  unsigned pieces_ = 0;  // since the last turn of others
  std::uint64_t bytes_since_yield_ = 0;
  async::Waiter* room_ = nullptr;  // where the producer waits for room
};

}  // namespace nixbuild::http
