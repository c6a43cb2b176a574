// Bytes sent to a running server over a real socket: each connection must end, and the server may
// only send responses.
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "check.hpp"
#include "common/base/log.hpp"
#include "common/base/unique_fd.hpp"
#include "server/http/server.hpp"

using namespace nixbuild;
using namespace nixbuild::http;

namespace {

asio::awaitable<void> produce(BodyWriter& writer, std::uint64_t offset, std::uint64_t length) {
  static const std::string bytes(100, 'x');
  co_await writer.write(std::string_view(bytes).substr(offset, length));
}

asio::awaitable<Response> answer_later() {
  asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::microseconds(10));
  co_await timer.async_wait(asio::use_awaitable);
  co_return text_response(200, "later");
}

std::shared_ptr<const Router> make_router() {
  auto router = std::make_shared<Router>();
  router->get("/stream/{size}", [](const Request&, PathParameters parameters) {
    Response response;
    response.accept_ranges = true;
    response.etag = "\"e\"";
    StreamBody body;
    if (parameters[0] == "known") body.size = 100;
    body.produce = produce;
    response.body.emplace<StreamBody>(std::move(body));
    return response;
  });
  router->get("/later", [](const Request&, PathParameters) -> Reply { return answer_later(); });
  router->get("/throw",
              [](const Request&, PathParameters) -> Reply { throw std::runtime_error("thrown"); });
  router->get("/{text}", [](const Request&, PathParameters parameters) {
    return text_response(200, std::string(parameters[0]));
  });
  router->add(Method::post, "/{text}",
              [](const Request& request, PathParameters) {
                return text_response(200, std::string(request.body));
              },
              {.body_limit = 1000});
  return router;
}

// A server for the whole run; the process ends without stopping it.
const std::string& server_path() {
  static const std::string path = [] {
    log::set_level(log::Level::off);
    std::string file = "/tmp/nixbuild-fuzz." + std::to_string(::getpid());
    ServerOptions options;
    options.threads = 1;
    options.limits.header_size = 1000;
    options.limits.target_size = 200;
    auto* server = new Server(options, make_router());
    server->listen({net::UnixAddress{file}, nullptr});
    std::thread([server] { server->run(); }).detach();
    std::atexit([] { ::unlink(server_path().c_str()); });
    return file;
  }();
  return path;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const UniqueFd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  server_path().copy(address.sun_path, sizeof address.sun_path - 1);
  CHECK(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  // The first byte determines how the rest is cut into pieces.
  const std::size_t step = data[0] == 0 ? size : data[0];
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  while (!rest.empty()) {
    const std::string_view piece = rest.substr(0, step);
    if (::send(client.get(), piece.data(), piece.size(), MSG_NOSIGNAL) < 0) break;
    rest.remove_prefix(piece.size());
  }
  ::shutdown(client.get(), SHUT_WR);
  std::string received;
  std::array<char, 4096> bytes;
  for (;;) {
    // Many short waits, so that a pause of the whole machine does not look like a server that
    // hangs.
    pollfd poll{client.get(), POLLIN, 0};
    int waits = 0;
    while (::poll(&poll, 1, 100) == 0)
      CHECK(++waits < 90);
    const ssize_t n = ::recv(client.get(), bytes.data(), bytes.size(), 0);
    if (n <= 0) break;
    if (received.size() < 64) received.append(bytes.data(), static_cast<std::size_t>(n));
  }
  CHECK(received.empty() || received.starts_with("HTTP/1.1 "));
  return 0;
}
