// One client's connection: a state machine that connects the parts. RequestReader reads a request,
// the router's handler answers it, plan_response() decides which part of the answer is sent, and
// this class or, for a streamed body, StreamWriter sends it.
//
// It lives on one worker's thread and is driven by that worker's epoll events. Only a handler's
// coroutine and the producer of a StreamBody run through Asio.
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
  // Continues after this connection used up its turn.
  void resume();
  // Closes the connection if its deadline has passed. An idle or stalled connection has less time
  // if others are waiting (`crowded`).
  void check_deadline(MonotonicTime now, bool crowded);
  // Accepts no request after the current one; an idle connection ends now.
  void drain();
  // Ends the connection now, whatever it is doing. The client sees a reset.
  void abort();

  // Like abort(), for a client that does not read its response.
  void cut_stalled(std::string_view why);

  // For the writer of a streamed body:
  bool is_streaming() const noexcept { return state_ == State::streaming; }
  asio::any_io_executor executor() { return worker_.executor(); }
  // Starts the write timeout; meanwhile `queued_bytes` of the body are in memory.
  void wait_for_client(std::size_t queued_bytes);
  void wait_no_longer();

  bool closed() const noexcept { return state_ == State::closed; }

  // For the worker:
  std::size_t index = 0;
  std::size_t queued = 0;       // see Worker::set_queued
  MonotonicTime stalled_since;  // since when `queued` is not 0

 private:
  enum class State : std::uint8_t {
    idle,       // no byte of a request received yet
    header,     // a request's head is being received
    body,       // the request's body is being read
    handling,   // the handler's coroutine runs
    sending,    // head_ and memory_ or a file are being sent
    streaming,  // a producer's coroutine runs
    lingering,  // everything sent; discards input until the client closes
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
  // Answers with an error of the server itself. `keep` leaves the connection usable afterwards.
  void refuse(unsigned status, std::string_view reason, bool keep);
  void refuse_exception(const std::exception_ptr& error);
  void start_stream();
  static asio::awaitable<Response> run_handler(asio::awaitable<Response> reply);
  asio::awaitable<void> run_producer();
  void on_stream_end();
  // Sends what is queued; true if everything was sent.
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
  // The last Host that the router's rule allowed, to avoid checking it for each request.
  std::string allowed_host_;
  std::uint64_t allowed_version_ = 0;
  const std::uint64_t number_ = next_number();
  State state_ = State::idle;
  bool close_after_ = false;
  bool input_unread_ = false;  // part of a body or of a malformed request was not read

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
