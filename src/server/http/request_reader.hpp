// Reads the requests of one connection. A request's bytes stay in one buffer, and the parser's
// views point into it until the response has been sent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "server/http/request_parser.hpp"

namespace nixbuild::http {

class Worker;

class RequestReader {
 public:
  enum class Step : std::uint8_t {
    blocked,  // more data is needed
    done,
    refused,  // see refusal()
    ended,    // the client closed the connection
  };

  RequestReader(Worker& worker, int socket);
  ~RequestReader() = default;
  RequestReader(const RequestReader&) = delete;
  RequestReader& operator=(const RequestReader&) = delete;

  // The socket is readable. `ended`: the client shut down its sending side, so no further event
  // will announce data still to be read.
  void on_readable(bool ended) noexcept {
    readable_ = true;
    if (ended) ended_ = true;
  }

  // Reads until the head of a request is complete.
  Step read_header();
  // Whether a byte of the next request has arrived.
  bool has_begun() const noexcept { return begun_; }
  // Reads until the body is complete.
  Step read_body();
  const RequestParser::Refusal& refusal() const noexcept { return refusal_; }
  RequestParser& parser() noexcept { return parser_; }
  const RequestParser& parser() const noexcept { return parser_; }

  // Finishes this request; the next one begins after it.
  void next_request();
  // Whether the buffer has bytes that no request consumed.
  bool has_rest() const noexcept { return begin_ < end_; }
  bool is_readable() const noexcept { return readable_; }

  // Discards the client's input, a limited amount per call; returns `done` after each amount.
  Step discard();
  // Releases the buffer; no view of it may be in use.
  void release();

 private:
  // Reads bytes into the buffer, if any are available.
  Step receive();
  void begin_request(std::size_t size);
  void make_room();
  Step refuse(unsigned status, const char* reason);

  Worker& worker_;
  const int socket_;
  bool readable_ = false;
  bool ended_ = false;
  bool begun_ = false;

  // [begin_, end_) holds unconsumed bytes; the request's head stays in place before it.
  std::unique_ptr<char[]> buffer_;
  std::size_t request_start_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  RequestParser parser_;
  RequestParser::Refusal refusal_;
};

}  // namespace nixbuild::http
