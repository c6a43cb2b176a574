// One client's connection: a state machine between the parts that do the work. RequestReader reads
// a request, the router's handler answers it, plan_response() decides what of the answer is sent,
// and this or, for a streamed body, StreamWriter sends it.
//
// It lives on one worker's thread and is driven by that worker's epoll events; only a handler's own
// coroutine, and the producer of a StreamBody, run through Asio.
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
#include "server/http/request_reader.hpp"
#include "server/http/response_plan.hpp"
#include "server/http/router.hpp"
#include "server/http/stream_writer.hpp"
#include "server/http/worker.hpp"

namespace nixbuild::http {

class Connection final : public EpollTarget {
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

  // For the writer of a streamed body:
  bool is_streaming() const noexcept { return state_ == State::streaming; }
  asio::any_io_executor executor() { return worker_.executor(); }
  // The client has to take something in time; meanwhile `queued_bytes` of the body are in memory.
  void wait_for_client(std::size_t queued_bytes);
  void wait_no_longer();

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

  static std::uint64_t next_number() noexcept {
    static std::atomic<std::uint64_t> last{0};
    return ++last;
  }

  // Reading, connection.cpp.
  void proceed();
  bool read_header();
  bool read_body();
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
  void refuse_exception(const std::exception_ptr& error);
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
  bool close_after_ = false;
  bool input_unread_ = false;  // not all of a request's body, or of a malformed request, was read

  RequestReader reader_;
  const RequestParser& parser_ = reader_.parser();
  Request request_;
  Router::Match match_;
  std::string path_storage_;
  bool range_malformed_ = false;
  MonotonicTime deadline_ = MonotonicTime::max();
  MonotonicTime started_;

  Response response_;
  unsigned status_ = 0;
  Framing framing_ = Framing::length;
  BodyPart body_;
  Output output_;
  StreamWriter writer_{*this, output_};
  bool producer_done_ = false;
  std::exception_ptr stream_error_;
  bool coroutine_running_ = false;
  asio::cancellation_signal cancel_;
};

}  // namespace nixbuild::http
