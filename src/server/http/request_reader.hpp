// Reads the requests of one connection: what has come of a request stays in one buffer, and the
// parser's views point into it until the response has been sent.
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
    blocked,  // more has to come
    done,
    refused,  // see refusal()
    ended,    // the client has closed the connection
  };

  RequestReader(Worker& worker, int socket);
  ~RequestReader() = default;
  RequestReader(const RequestReader&) = delete;
  RequestReader& operator=(const RequestReader&) = delete;

  // The socket is readable. `ended`: the client has ended its sending, so that no further event
  // tells of what is still to be read.
  void on_readable(bool ended) noexcept {
    readable_ = true;
    if (ended) ended_ = true;
  }

  // Reads on until the head of a request is there.
  Step read_header();
  // Whether a byte of the next request has come.
  bool has_begun() const noexcept { return begun_; }
  // Reads on until the body is there.
  Step read_body();
  const RequestParser::Refusal& refusal() const noexcept { return refusal_; }
  RequestParser& parser() noexcept { return parser_; }
  const RequestParser& parser() const noexcept { return parser_; }

  // The request is done with; the next one begins behind it.
  void next_request();
  // Whether bytes are here that no request has consumed.
  bool has_rest() const noexcept { return begin_ < end_; }
  bool is_readable() const noexcept { return readable_; }

  // Throws away what the client sends, a share of it at a time; `done` is a share's end.
  Step discard();
  // Gives the buffer back: no view of it is used any more.
  void release();

 private:
  // Bytes or nothing into the buffer.
  Step receive();
  void begin_request(std::size_t size);
  void make_room();
  Step refuse(unsigned status, const char* reason);

  Worker& worker_;
  const int socket_;
  bool readable_ = false;
  bool ended_ = false;
  bool begun_ = false;

  // The bytes read: [begin_, end_) is not consumed; the request's head stays in place before it.
  std::unique_ptr<char[]> buffer_;
  std::size_t request_start_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  RequestParser parser_;
  RequestParser::Refusal refusal_;
};

}  // namespace nixbuild::http
