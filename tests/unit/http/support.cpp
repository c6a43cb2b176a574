#include "support.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <future>
#include <stdexcept>

namespace nixbuild::http::test {

ServerOptions TestServer::two_threads() {
  ServerOptions options;
  options.threads = 2;
  options.limits.shutdown_timeout = 0ms;
  return options;
}

TestServer::TestServer(const AddRoutes& add_routes, ServerOptions options) {
  auto router = std::make_shared<Router>();
  add_routes(*router);
  server_ = std::make_unique<Server>(options, std::move(router));
  server_->listen({net::TcpAddress{"127.0.0.1", 0}, nullptr});
  port_ = port_of_url(server_->addresses().at(0));
  thread_ = std::thread([this] { server_->run(); });
}

TestServer::~TestServer() {
  stop();
}

void TestServer::stop() {
  if (!thread_.joinable()) return;
  server_->stop();
  thread_.join();
}

std::uint16_t port_of_url(std::string_view url) {
  const std::string_view digits = url.substr(url.rfind(':') + 1);
  std::uint16_t port = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), port);
  return port;
}

Client::Client(std::uint16_t port, int receive_buffer)
    : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  if (receive_buffer > 0) {
    ::setsockopt(fd(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw std::runtime_error(std::string("connect: ") + std::strerror(errno));
  }
}

Client::Client(const std::string& unix_path)
    : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  unix_path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::connect(fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw std::runtime_error(std::string("connect: ") + std::strerror(errno));
  }
}

void Client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return;  // the server has closed; its response shows why
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

bool Client::fill() {
  pollfd poll{fd(), POLLIN, 0};
  if (::poll(&poll, 1, static_cast<int>(patience / 1ms)) <= 0) {
    throw std::runtime_error("the server neither answered nor closed the connection");
  }
  std::array<char, 65536> bytes;
  const ssize_t n = ::recv(fd(), bytes.data(), bytes.size(), 0);
  if (n < 0) reset_ = errno == ECONNRESET;
  if (n <= 0) return false;
  buffer_.append(bytes.data(), static_cast<std::size_t>(n));
  return true;
}

Received Client::receive(bool head) {
  Received received;
  std::size_t end = 0;
  while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (!fill()) return received;
  }
  received.head = buffer_.substr(0, end + 4);
  buffer_.erase(0, end + 4);
  received.status = std::stoi(received.head.substr(9, 3));
  std::size_t line = received.head.find("\r\n") + 2;
  while (line < end) {
    const std::size_t line_end = received.head.find("\r\n", line);
    const std::string text = received.head.substr(line, line_end - line);
    std::string name = text.substr(0, text.find(':'));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return static_cast<char>(c | 0x20); });
    received.headers[name] = text.substr(text.find(':') + 2);
    line = line_end + 2;
  }
  if (head || received.status / 100 == 1 || received.status == 204 || received.status == 304) {
    received.whole = true;
    return received;
  }
  const auto have = [this](std::size_t size) {
    while (buffer_.size() < size) {
      if (!fill()) return false;
    }
    return true;
  };
  if (received.header("transfer-encoding") == "chunked") {
    for (;;) {
      std::size_t size_end = 0;
      while ((size_end = buffer_.find("\r\n")) == std::string::npos) {
        if (!fill()) return received;
      }
      const std::size_t size = std::stoull(buffer_.substr(0, size_end), nullptr, 16);
      buffer_.erase(0, size_end + 2);
      const bool complete = have(size + 2);
      received.body += buffer_.substr(0, std::min(size, buffer_.size()));
      if (!complete) return received;
      if (buffer_.substr(size, 2) != "\r\n") throw std::runtime_error("a chunk without its end");
      buffer_.erase(0, size + 2);
      if (size == 0) break;
    }
    received.whole = true;
  } else if (!received.header("content-length").empty()) {
    const std::size_t size = std::stoull(received.header("content-length"));
    received.whole = have(size);
    received.body = buffer_.substr(0, size);
    buffer_.erase(0, std::min(size, buffer_.size()));
  } else {
    received.body = receive_all();
    received.whole = !reset_;
  }
  return received;
}

Received Client::get(const std::string& path, const std::string& headers) {
  send("GET " + path + " HTTP/1.1\r\nHost: test\r\n" + headers + "\r\n");
  return receive();
}

std::string Client::receive_all() {
  while (fill()) {
  }
  return std::exchange(buffer_, {});
}

std::string Client::receive_some(std::size_t size) {
  while (buffer_.size() < size && fill()) {
  }
  std::string bytes = buffer_.substr(0, size);
  buffer_.erase(0, bytes.size());
  return bytes;
}

std::uint64_t Client::discard_all() {
  std::uint64_t count = 0;
  do {
    count += buffer_.size();
    buffer_.clear();
  } while (fill());
  return count;
}

bool Client::ended() {
  return buffer_.empty() && !fill();
}

void Client::end_sending() {
  ::shutdown(fd(), SHUT_WR);
}

Reply hello(const Request& request, PathParameters) {
  return text_response(200, "hello " + std::string(request.peer));
}

std::shared_ptr<const Router> hello_router(const std::string& path) {
  auto router = std::make_shared<Router>();
  router->get(path, hello);
  return router;
}

void wait_until_serving(Server& server) {
  std::promise<void> serving;
  asio::post(server.executor(), [&serving] { serving.set_value(); });
  serving.get_future().wait();
}

Response stream_response(
    std::optional<std::uint64_t> size,
    std::function<asio::awaitable<void>(BodyWriter&, std::uint64_t, std::uint64_t)> produce) {
  Response response;
  response.body = StreamBody{size, std::move(produce)};
  return response;
}

std::string pattern(std::uint64_t offset, std::uint64_t length) {
  std::string text(length, '\0');
  for (std::uint64_t i = 0; i < length; ++i)
    text[i] = pattern_at(offset + i);
  return text;
}

std::shared_ptr<const UniqueFd> file_with(const std::string& content) {
  std::string name = "/tmp/nixbuild-http-test.XXXXXX";
  UniqueFd fd(::mkostemp(name.data(), O_CLOEXEC));
  ::unlink(name.c_str());
  if (::write(fd.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size())) {
    throw std::runtime_error("writing a file");
  }
  return std::make_shared<const UniqueFd>(std::move(fd));
}

asio::awaitable<void> produce_pattern(BodyWriter& writer, std::uint64_t offset,
                                      std::uint64_t length) {
  // One buffer for all, so that the server's allocations stand out from the test's.
  static const std::string bytes = pattern(0, pattern_period + 10'000);
  while (length > 0) {
    const std::uint64_t piece = std::min<std::uint64_t>(10'000, length);
    co_await writer.write(std::string_view(bytes).substr(offset % pattern_period, piece));
    offset += piece;
    length -= piece;
  }
}

}  // namespace nixbuild::http::test
