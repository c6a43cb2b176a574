// One client's connection: a state machine that reads a request, has it answered, sends the answer
// and begins anew. It lives on one worker's thread and is driven by that worker's epoll events;
// only a handler's own coroutine, and the producer of a StreamBody, run through Asio.
#pragma once

#include <atomic>
#include <boost/asio/cancellation_signal.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/unique_fd.hpp"
#include "server/async/waiter.hpp"
#include "server/http/conditions.hpp"
#include "server/http/request_parser.hpp"
#include "server/http/response_head.hpp"
#include "server/http/router.hpp"
#include "server/http/worker.hpp"

namespace nixbuild::http {

class Connection final : public EpollTarget, private BodyWriter {
 public:
  Connection(Worker& worker, UniqueFd socket, std::shared_ptr<const Router> router,
             std::string peer, PeerLimit::Place place);
  ~Connection() override;

  int fd() const noexcept { return socket_.get(); }
  void on_event(std::uint32_t events) override;
  // Goes on where a turn's share of work was used up.
  void resume();
  // Closes the connection when its time is over; between requests that is sooner where others wait
  // for its place.
  void check_deadline(MonotonicTime now, bool crowded);
  // No further request after the one at hand; an idle connection ends now.
  void drain();
  // Ends the connection now, whatever it is doing. The client sees a reset.
  void abort();

  // As abort(), of a client that takes nothing.
  void cut_stalled(std::string_view why);

  bool closed() const noexcept { return state_ == State::closed; }

  // The worker's:
  std::size_t index = 0;
  std::size_t queued = 0;       // see Worker::set_queued
  MonotonicTime stalled_since;  // of `queued`

 private:
  enum class State : std::uint8_t {
    idle,       // no byte of a request has come
    header,     // a part of a request's head has come
    body,       // the request's body is being read
    handling,   // the handler's coroutine runs
    sending,    // head_ and memory_ or a file are being sent
    streaming,  // a producer's coroutine runs
    lingering,  // all is sent; what the client still sends is thrown away until it closes
    closed,
  };
  enum class Close : std::uint8_t { orderly, reset };
  enum class BodyKind : std::uint8_t { none, memory, file, stream };
  enum class IoResult : std::uint8_t { done, blocked, failed };

  static std::uint64_t next_number() noexcept {
    static std::atomic<std::uint64_t> last{0};
    return ++last;
  }

  // Reading, connection.cpp.
  void proceed();
  bool read_header();
  bool read_body();
  // Reads what has come into the buffer; false when nothing has, or the connection has ended.
  bool receive();
  void make_room();
  void begin_request();
  bool is_for_us();
  void dispatch();
  void linger();
  void discard_input();
  void close(Close how);

  // Answering, connection_send.cpp.
  void answer(Response response);
  void answer_later(asio::awaitable<Response> reply);
  void on_reply(const std::exception_ptr& error, Response response);
  // An error that the server itself answers. `keep` leaves the connection usable afterwards.
  void refuse(unsigned status, std::string_view reason, bool keep);
  Response error_response(unsigned status, std::string_view reason) const;
  void refuse_exception(const std::exception_ptr& error);
  void select_body(HeadFacts& facts);
  void apply_range(HeadFacts& facts);
  void replace_by_error(HeadFacts& facts, unsigned status, std::string_view reason);
  void start_stream();
  static asio::awaitable<Response> run_handler(asio::awaitable<Response> reply);
  asio::awaitable<void> run_producer();
  void on_stream_end();
  // Sends what is there; true when all is sent.
  bool flush();
  bool flush_file(bool progress);
  bool send_failed(int error, bool progress);
  void finish_response();
  void end_request();
  void cut(std::string_view why);

  // BodyWriter, body_writer.cpp.
  asio::awaitable<void> write(std::string_view bytes) override;
  asio::awaitable<void> send_file(int fd, std::uint64_t offset, std::uint64_t length) override;
  asio::awaitable<void> until_writable(std::size_t queued_bytes);
  asio::awaitable<void> yield_turn();
  void announce(std::uint64_t length);
  IoResult send_some(std::string_view& bytes, std::string_view& tail, int flags);

  Worker& worker_;
  UniqueFd socket_;
  const std::shared_ptr<const Router> router_;
  const std::string peer_;
  PeerLimit::Place place_;
  // The last Host that the router's rule has allowed, so that it is not asked for each request.
  std::string allowed_host_;
  std::uint64_t allowed_version_ = 0;
  const std::uint64_t number_ = next_number();
  State state_ = State::idle;
  bool readable_ = false;
  bool input_ended_ = false;
  bool close_after_ = false;
  bool input_unread_ =
      false;  // the request's body, or a malformed request, was not read to its end

  // The bytes read: [begin_, end_) is not consumed; the request's head stays in place before it.
  std::unique_ptr<char[]> buffer_;
  std::size_t request_start_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  RequestParser parser_;

  Request request_;
  Router::Match match_;
  std::string path_storage_;
  bool range_malformed_ = false;
  MonotonicTime deadline_ = MonotonicTime::max();
  MonotonicTime started_;

  Response response_;
  unsigned status_ = 0;
  std::string head_;      // and, while streaming, what frames the next piece
  std::size_t sent_ = 0;  // of head_, and of memory_ behind it
  Framing framing_ = Framing::length;
  BodyKind body_kind_ = BodyKind::none;
  std::string_view memory_;        // of BodyKind::memory: what is to be sent
  std::uint64_t body_offset_ = 0;  // of the part of the body that is to be sent
  std::uint64_t body_length_ = 0;  // of that part; UINT64_MAX when it is not known
  std::uint64_t body_sent_ = 0;

  // Of a StreamBody.
  std::uint64_t stream_left_ = 0;  // bytes still to come, when the length is known
  bool head_started_ = false;
  bool chunk_open_ = false;  // the line break behind the last chunk is still owed
  bool stream_broken_ = false;
  bool producer_done_ = false;
  unsigned pieces_ = 0;
  std::uint64_t bytes_since_yield_ = 0;
  std::exception_ptr stream_error_;
  async::Waiter* writable_ = nullptr;  // where the producer waits for room
  bool coroutine_running_ = false;
  asio::cancellation_signal cancel_;
};

}  // namespace nixbuild::http
