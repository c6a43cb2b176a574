// A server on a free port in its own thread, and a client that sends and receives raw bytes.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "../support/eventually.hpp"
#include "common/base/unique_fd.hpp"
#include "server/http/server.hpp"

namespace nixbuild::http::test {

using namespace std::chrono_literals;

// The longest that a test waits, if the outcome does not depend on the time.
constexpr std::chrono::seconds patience{30};

class TestServer {
 public:
  using AddRoutes = std::function<void(Router&)>;

  explicit TestServer(const AddRoutes& add_routes, ServerOptions options = two_threads());
  ~TestServer();

  // Two threads; at the end, requests in progress are dropped.
  static ServerOptions two_threads();

  Server& server() { return *server_; }
  std::uint16_t port() const { return port_; }
  // Stops gracefully, and waits until the server has ended.
  void stop();

 private:
  std::unique_ptr<Server> server_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

// Runs a server in a thread, with the addresses that the test configured.
class Running {
 public:
  explicit Running(Server& server) : server_(server), thread_([this] { server_.run(); }) {}
  ~Running() {
    server_.stop();
    thread_.join();
  }

 private:
  Server& server_;
  std::thread thread_;
};

// Answers "hello PEER".
Reply hello(const Request& request, PathParameters parameters);
std::shared_ptr<const Router> hello_router(const std::string& path = "/hello");

std::uint16_t port_of_url(std::string_view url);

struct Received {
  int status = 0;  // 0: the connection ended first
  std::string head;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  bool whole = false;  // the body is complete according to its framing

  std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? std::string() : found->second;
  }
};

class Client {
 public:
  explicit Client(std::uint16_t port, int receive_buffer = 0);
  explicit Client(const std::string& unix_path);

  int fd() const { return socket_.get(); }
  void send(std::string_view bytes);
  // Reads one response; a response to HEAD has no body.
  Received receive(bool head = false);
  Received get(const std::string& path, const std::string& headers = "");
  // Reads everything until the connection ends. `reset` says how it ended.
  std::string receive_all();
  // Reads up to `size` bytes; fewer at the end.
  std::string receive_some(std::size_t size);
  // Counts the bytes until the connection ends, without keeping them.
  std::uint64_t discard_all();
  bool ended();  // waits for the end; false if bytes arrived instead
  bool was_reset() const { return reset_; }
  void end_sending();
  void close() { socket_.reset(); }

 private:
  bool fill();

  UniqueFd socket_;
  std::string buffer_;
  bool reset_ = false;
};

using nixbuild::test::eventually;

// Waits until the server's thread runs, so that signals reach the server.
void wait_until_serving(Server& server);

// A StreamBody's response.
Response stream_response(
    std::optional<std::uint64_t> size,
    std::function<asio::awaitable<void>(BodyWriter&, std::uint64_t, std::uint64_t)> produce);

// The byte at a position of streamed test bodies, chosen so that a wrong offset shows.
inline char pattern_at(std::uint64_t position) {
  return static_cast<char>('a' + (position % 26 * 7 + position / 26) % 26);
}
constexpr std::uint64_t pattern_period = 26 * 26;
std::string pattern(std::uint64_t offset, std::uint64_t length);

// The pattern's bytes from `offset` on.
asio::awaitable<void> produce_pattern(BodyWriter& writer, std::uint64_t offset,
                                      std::uint64_t length);

// An anonymous file.
std::shared_ptr<const UniqueFd> file_with(const std::string& content);

}  // namespace nixbuild::http::test
