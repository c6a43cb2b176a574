#include "server/http/request_reader.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "server/http/worker.hpp"

namespace nixbuild::http {
namespace {

// Bytes discarded before other connections get their turn.
constexpr std::size_t discarded_a_turn = std::size_t{1} << 20;

}  // namespace

RequestReader::RequestReader(Worker& worker, int socket)
    : worker_(worker), socket_(socket), parser_(worker.shared().options.limits.target_size) {}

RequestReader::Step RequestReader::receive() {
  if (!readable_) return Step::blocked;
  if (!buffer_) buffer_ = worker_.take_buffer();
  const std::size_t room = worker_.buffer_size() - end_;
  for (;;) {
    const ssize_t n = ::recv(socket_, buffer_.get() + end_, room, 0);
    if (n > 0) {
      end_ += static_cast<std::size_t>(n);
      if (static_cast<std::size_t>(n) < room && !ended_) readable_ = false;
      return Step::done;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      readable_ = false;
      return Step::blocked;
    }
    return Step::ended;
  }
}

RequestReader::Step RequestReader::refuse(unsigned status, const char* reason) {
  refusal_ = {status, reason};
  return Step::refused;
}

// Moves the data only if the head, or the framing of a body after it, might not fit. This happens
// before any views of the head exist, because they point into the buffer.
void RequestReader::begin_request(std::size_t size) {
  begun_ = true;
  const std::size_t body_room = worker_.buffer_size() - worker_.shared().options.limits.header_size;
  const void* const head_end = ::memmem(buffer_.get() + request_start_, size, "\r\n\r\n", 4);
  if (request_start_ > 0 && (head_end == nullptr || static_cast<const char*>(head_end) + body_room >
                                                        buffer_.get() + worker_.buffer_size())) {
    std::memmove(buffer_.get(), buffer_.get() + request_start_, size);
    request_start_ = 0;
    end_ = size;
  }
  parser_.begin();
}

RequestReader::Step RequestReader::read_header() {
  const std::size_t header_limit = worker_.shared().options.limits.header_size;
  for (;;) {
    // Skip an empty line before a request (RFC 9112, 2.2).
    while (!begun_ && end_ - request_start_ >= 2 && buffer_[request_start_] == '\r' &&
           buffer_[request_start_ + 1] == '\n') {
      request_start_ += 2;
    }
    const std::size_t size = end_ - request_start_;
    const bool only_break = size == 1 && buffer_[request_start_] == '\r';
    if (size > 0 && !only_break) {
      if (!begun_) begin_request(size);
      switch (parser_.parse_header({buffer_.get() + request_start_, size})) {
        case RequestParser::State::done:
          begin_ = request_start_ + parser_.header_size();
          if (parser_.header_size() > header_limit) return refuse(431, "too many headers");
          return Step::done;
        case RequestParser::State::failed:
          begin_ = end_;
          return refuse(parser_.refusal().status, parser_.refusal().reason);
        case RequestParser::State::need_more:
          break;
      }
      if (size >= header_limit) {
        begin_ = end_;
        return refuse(431, "too many headers");
      }
    } else if (request_start_ > 0) {
      if (only_break) buffer_[0] = '\r';
      request_start_ = 0;
      end_ = size;
    }
    const Step received = receive();
    if (received == Step::done) continue;
    if (received == Step::blocked && !begun_ && buffer_ && end_ == request_start_) {
      worker_.give_buffer(std::move(buffer_));
    }
    return received;
  }
}

RequestReader::Step RequestReader::read_body() {
  for (;;) {
    std::size_t consumed = 0;
    const auto state = parser_.parse_body({buffer_.get() + begin_, end_ - begin_}, consumed);
    begin_ += consumed;
    if (state == RequestParser::State::done) return Step::done;
    if (state == RequestParser::State::failed) {
      return refuse(parser_.refusal().status, parser_.refusal().reason);
    }
    make_room();
    if (end_ == worker_.buffer_size()) return refuse(431, "the chunk header is too long");
    const Step received = receive();
    if (received != Step::done) return received;
  }
}

// Frees the body's space; the head stays in place because the request's views point to it.
void RequestReader::make_room() {
  const std::size_t head_end = request_start_ + parser_.header_size();
  std::memmove(buffer_.get() + head_end, buffer_.get() + begin_, end_ - begin_);
  end_ = head_end + (end_ - begin_);
  begin_ = head_end;
}

void RequestReader::next_request() {
  begun_ = false;
  request_start_ = begin_;
  if (begin_ == end_) {
    request_start_ = begin_ = end_ = 0;
    if (!readable_) worker_.give_buffer(std::move(buffer_));
  }
}

RequestReader::Step RequestReader::discard() {
  if (!buffer_) buffer_ = worker_.take_buffer();
  begin_ = end_ = request_start_ = 0;
  std::size_t discarded = 0;
  while (readable_) {
    const ssize_t n = ::recv(socket_, buffer_.get(), worker_.buffer_size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      readable_ = false;
      return Step::blocked;
    }
    if (n <= 0) return Step::ended;
    discarded += static_cast<std::size_t>(n);
    if (discarded >= discarded_a_turn) return Step::done;
  }
  return Step::blocked;
}

void RequestReader::release() {
  if (buffer_) worker_.give_buffer(std::move(buffer_));
}

}  // namespace nixbuild::http
