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

// Bytes to be sent to a client.
struct Output {
  std::string head;             // and, for a streamed body, the framing of the next piece
  std::size_t sent = 0;         // of `head` and of a body in memory after it
  std::uint64_t body_sent = 0;  // bytes of the body
};

class StreamWriter final : public BodyWriter {
 public:
  StreamWriter(Connection& connection, Output& output) : connection_(connection), output_(output) {}

  // `length`: of the body; UINT64_MAX if unknown.
  void begin(Framing framing, std::uint64_t length);
  // Sends the head before the body, unless a byte of it was already sent.
  void send_head();
  // Whether any byte of the response was sent.
  bool started() const noexcept { return started_; }
  // Called when the producer has returned. Appends the end of the framing to the output; false if
  // the body does not have the announced length.
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
  bool chunk_open_ = false;  // the line break after the last chunk was not sent yet
  bool broken_ = false;
  unsigned pieces_ = 0;  // since the last yield
  std::uint64_t bytes_since_yield_ = 0;
  async::Waiter* room_ = nullptr;  // where the producer waits for room
};

}  // namespace nixbuild::http
