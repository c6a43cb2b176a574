// Where a server listens, how it reports that, and how it ends.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdlib>
#include <filesystem>
#include <mutex>

#include "../support/skip.hpp"
#include "../support/temporary_directory.hpp"
#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "support.hpp"

using namespace nixbuild;
using namespace nixbuild::http;
using namespace nixbuild::http::test;

namespace {

void add_hello(Router& router) {
  router.get("/hello", hello);
}

struct Directory : nixbuild::test::TemporaryDirectory {
  std::string file(const std::string& name) const { return path() / name; }
};

asio::awaitable<Response> answer_slowly() {
  asio::steady_timer timer(co_await asio::this_coro::executor, 300ms);
  co_await timer.async_wait(asio::use_awaitable);
  co_return text_response(200, "slow");
}

asio::awaitable<Response> never_answer() {
  asio::steady_timer timer(co_await asio::this_coro::executor, 1h);
  co_await timer.async_wait(asio::use_awaitable);
  co_return Response{};
}

// Receives a service's messages to the service manager.
class NotifySocket {
 public:
  explicit NotifySocket(const std::string& path)
      : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    REQUIRE(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
            0);
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  }
  ~NotifySocket() { ::unsetenv("NOTIFY_SOCKET"); }

  // The next message; empty if none arrives within `timeout`.
  std::string next(std::chrono::milliseconds timeout) {
    timeval time{timeout / 1s, (timeout % 1s) / 1us};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    char message[1000];
    const ssize_t n = ::recv(socket_.get(), message, sizeof message, 0);
    return n < 0 ? std::string() : std::string(message, static_cast<std::size_t>(n));
  }

 private:
  UniqueFd socket_;
};

}  // namespace

TEST_CASE("all threads accept on one port, and statistics add them up") {
  ServerOptions options = TestServer::two_threads();
  options.threads = 4;
  TestServer server(add_hello, options);
  for (int i = 0; i < 100; ++i)
    CHECK(Client(server.port()).get("/hello").status == 200);
  CHECK(server.server().statistics().connections_accepted == 100);
}

TEST_CASE("a port that is taken is an error that names it") {
  TestServer first(add_hello);
  const std::string address = "127.0.0.1:" + std::to_string(first.port());
  for (const char* host : {"127.0.0.1", "0.0.0.0"}) {
    Server second({}, hello_router());
    std::string message;
    try {
      second.listen({net::TcpAddress{host, first.port()}, nullptr});
    } catch (const Error& error) {
      message = error.what();
    }
    CAPTURE(message);
    CHECK(message.find(std::string(host) + ":" + std::to_string(first.port())) !=
          std::string::npos);
    CHECK(message.find("in use") != std::string::npos);
  }
  // The address is free again at once, whatever connections the kernel still has.
  CHECK(Client(first.port()).get("/hello").status == 200);
  first.stop();
  Server second({}, hello_router());
  second.listen({net::TcpAddress{"127.0.0.1", first.port()}, nullptr});
}

TEST_CASE("an address that this machine does not have") {
  Server server({}, hello_router());
  Listener listener{net::TcpAddress{"192.0.2.1", 0}, nullptr};
  CHECK_THROWS_AS(server.listen(listener), SystemError);
  listener.required = false;
  server.listen(listener);
  CHECK(server.addresses().empty());
}

namespace {

bool has_ipv6() {
  const UniqueFd socket(::socket(AF_INET6, SOCK_STREAM, 0));
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  return socket && ::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

}  // namespace

TEST_CASE("IPv6 and IPv4 may share a port number") {
  if (!has_ipv6()) return nixbuild::test::skip("no IPv6 here");
  Server server({}, hello_router());
  server.listen({net::TcpAddress{"::1", 0}, nullptr});
  const std::string url = server.addresses().at(0);
  CHECK(url.starts_with("http://[::1]:"));
  server.listen({net::TcpAddress{"127.0.0.1", port_of_url(url)}, nullptr});
  CHECK(server.addresses().at(1) == "http://127.0.0.1:" + std::to_string(port_of_url(url)));
}

TEST_CASE("a unix socket with a router of its own") {
  const Directory directory;
  const std::string path = directory.file("control.sock");
  {
    ServerOptions options = TestServer::two_threads();
    Server server(options, hello_router());
    server.listen({net::TcpAddress{"127.0.0.1", 0}, nullptr});
    server.listen({net::UnixAddress{path}, hello_router("/control"), 0600});
    CHECK(server.addresses().at(1) == "unix:" + path);
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
    const Running running(server);
    Client control(path);
    CHECK(control.get("/control").body == "hello unix");
    CHECK(control.get("/hello").status == 404);
    Client tcp(port_of_url(server.addresses().at(0)));
    CHECK(tcp.get("/hello").status == 200);
    CHECK(tcp.get("/control").status == 404);
    for (int i = 0; i < 50; ++i)
      CHECK(Client(path).get("/control").status == 200);

    // Another server listens there, so it is left alone.
    Server second({}, hello_router());
    CHECK_THROWS_AS(second.listen({net::UnixAddress{path}, nullptr}), Error);
    CHECK(control.get("/control").status == 200);
  }
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("a unix socket that a killed server left is replaced, another file is not") {
  const Directory directory;
  const std::string path = directory.file("left.sock");
  {
    const UniqueFd left(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    REQUIRE(::bind(left.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  }
  {
    Server server({}, hello_router());
    server.listen({net::UnixAddress{path}, nullptr});
    const Running running(server);
    CHECK(Client(path).get("/hello").status == 200);
  }
  const std::string file = directory.file("file");
  UniqueFd(::open(file.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  Server server({}, hello_router());
  CHECK_THROWS_AS(server.listen({net::UnixAddress{file}, nullptr}), Error);
  CHECK(std::filesystem::is_regular_file(file));
  CHECK_THROWS_AS(server.listen({net::UnixAddress{directory.file("no/such/dir.sock")}, nullptr}),
                  Error);
}

TEST_CASE("a graceful stop finishes what is in flight and serves who has connected") {
  ServerOptions options = TestServer::two_threads();
  options.limits.shutdown_timeout = patience;
  TestServer server(
      [](Router& router) {
        add_hello(router);
        router.get("/slow",
                   [](const Request&, PathParameters) -> Reply { return answer_slowly(); });
      },
      options);
  Client idle(server.port());
  CHECK(idle.get("/hello").status == 200);
  Client slow(server.port());
  slow.send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n");
  Client half(server.port());
  half.send("GET /hello HT");
  REQUIRE(eventually([&] { return server.server().statistics().requests_in_flight == 1; }));
  server.server().stop();
  CHECK(idle.ended());
  const Received received = slow.receive();
  CHECK(received.body == "slow");
  CHECK(received.header("connection") == "close");
  CHECK(slow.ended());
  half.send("TP/1.1\r\nHost: t\r\n\r\n");
  const Received completed = half.receive();
  CHECK(completed.status == 200);
  CHECK(completed.header("connection") == "close");
  server.stop();
  CHECK_THROWS(Client(server.port()));
}

TEST_CASE("what is still in flight after the shutdown time is cut") {
  ServerOptions options = TestServer::two_threads();
  options.limits.shutdown_timeout = 200ms;
  TestServer server(
      [](Router& router) {
        router.get("/never",
                   [](const Request&, PathParameters) -> Reply { return never_answer(); });
      },
      options);
  Client client(server.port());
  client.send("GET /never HTTP/1.1\r\nHost: t\r\n\r\n");
  REQUIRE(eventually([&] { return server.server().statistics().requests_in_flight == 1; }));
  server.stop();
  CHECK(client.ended());
}

TEST_CASE("signals: one SIGTERM finishes, two end at once, SIGHUP reloads") {
  auto router = std::make_shared<Router>();
  router->get("/never", [](const Request&, PathParameters) -> Reply { return never_answer(); });
  ServerOptions options = TestServer::two_threads();
  options.limits.shutdown_timeout = 10 * patience;
  Server server(options, router);
  server.listen({net::TcpAddress{"127.0.0.1", 0}, nullptr});
  const std::uint16_t port = port_of_url(server.addresses().at(0));
  std::atomic<int> reloads{0};
  server.on_reload([&] {
    ++reloads;
    throw std::runtime_error("a bad key");
  });
  std::thread thread([&] { server.run(); });
  wait_until_serving(server);
  Client client(port);
  client.send("GET /never HTTP/1.1\r\nHost: t\r\n\r\n");
  REQUIRE(eventually([&] { return server.statistics().requests_in_flight == 1; }));
  for (int i = 1; i <= 2; ++i) {
    ::kill(::getpid(), SIGHUP);
    CHECK(eventually([&] { return reloads == i; }));
  }
  ::kill(::getpid(), SIGTERM);
  const auto refused = [port] {
    try {
      Client probe(port);
      return false;
    } catch (const std::exception&) {
      return true;
    }
  };
  CHECK(eventually(refused));
  CHECK(server.statistics().requests_in_flight == 1);
  ::kill(::getpid(), SIGTERM);
  thread.join();
  CHECK(client.ended());
}

TEST_CASE("signals that come during a reload do not each ask for one more") {
  Server server(TestServer::two_threads(), hello_router());
  server.listen({net::TcpAddress{"127.0.0.1", 0}, nullptr});
  std::atomic<int> reloads{0};
  std::atomic<bool> sent{false};
  server.on_reload([&] {
    ++reloads;
    sent.wait(false);
  });
  std::thread thread([&] { server.run(); });
  wait_until_serving(server);
  ::kill(::getpid(), SIGHUP);
  CHECK(eventually([&] { return reloads == 1; }));
  for (int i = 0; i < 500; ++i)
    ::kill(::getpid(), SIGHUP);
  sent = true;
  sent.notify_all();
  CHECK(eventually([&] { return reloads == 2; }));
  ::kill(::getpid(), SIGTERM);
  thread.join();
  // One, unless this machine paused between two of them.
  CHECK(reloads < 50);
}

TEST_CASE("the log tells the addresses, and the requests where that is wanted") {
  const Directory directory;
  const std::string path = directory.file("log");
  ::fflush(stderr);
  const UniqueFd stderr_before(::dup(2));
  {
    const UniqueFd file(::open(path.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600));
    ::dup2(file.get(), 2);
  }
  ServerOptions options = TestServer::two_threads();
  options.access_log = true;
  std::uint16_t port = 0;
  {
    TestServer server(add_hello, options);
    port = server.port();
    Client client(port);
    CHECK(client.get("/hello").status == 200);
    CHECK(client.get("/a%20b\"\\\xff?c").status == 404);
    client.send("GET bad\r\n\r\n");
    CHECK(client.receive().status == 400);
  }
  ::dup2(stderr_before.get(), 2);
  const std::string log = read_file(path).value();
  CAPTURE(log);
  CHECK(log.find("listening on http://127.0.0.1:" + std::to_string(port) + "\n") !=
        std::string::npos);
  const auto line_with = [&log](const std::string& text) {
    const std::size_t found = log.find(text);
    return found == std::string::npos ? std::string()
                                      : log.substr(found, log.find('\n', found) - found);
  };
  CHECK(line_with("\"GET /hello\" 200 ").ends_with(" ms"));
  CHECK(line_with("\"GET /a%20b\\x22\\x5c\\xff?c\" 404 ").ends_with(" ms"));
  CHECK(line_with("\" \" 400 ").ends_with(" ms"));
}

#ifdef NIXBUILD_SYSTEMD

TEST_CASE("sockets of the service manager are taken over") {
  const Directory directory;
  const std::string path = directory.file("inherited.sock");
  const UniqueFd tcp(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::bind(tcp.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::listen(tcp.get(), 100) == 0);
  socklen_t size = sizeof address;
  ::getsockname(tcp.get(), reinterpret_cast<sockaddr*>(&address), &size);
  const std::uint16_t port = ntohs(address.sin_port);
  const UniqueFd local(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un local_address{};
  local_address.sun_family = AF_UNIX;
  path.copy(local_address.sun_path, sizeof local_address.sun_path - 1);
  REQUIRE(::bind(local.get(), reinterpret_cast<const sockaddr*>(&local_address),
                 sizeof local_address) == 0);
  REQUIRE(::listen(local.get(), 100) == 0);

  const pid_t child = ::fork();
  if (child == 0) {
    const int high = ::fcntl(tcp.get(), F_DUPFD, 20);
    const int higher = ::fcntl(local.get(), F_DUPFD, 30);
    ::dup2(high, 3);
    ::dup2(higher, 4);
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDS", "2", 1);
    int code = 1;
    try {
      Server server(TestServer::two_threads(), hello_router());
      // The service manager's sockets are not bound again, and get the listener's router.
      server.listen({net::TcpAddress{"127.0.0.1", port}, nullptr});
      server.listen({net::UnixAddress{path}, hello_router("/control")});
      server.run();
      code = std::filesystem::exists(path) ? 0 : 2;
    } catch (const std::exception&) {
    }
    ::_exit(code);
  }
  {
    Client client(port);
    CHECK(client.get("/hello").status == 200);
    CHECK(Client(path).get("/control").status == 200);
    for (int i = 0; i < 50; ++i)
      CHECK(Client(port).get("/hello").status == 200);
  }
  ::kill(child, SIGTERM);
  int status = 0;
  ::waitpid(child, &status, 0);
  // The socket file belongs to the service manager, and stays.
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("an inherited socket is enough, whatever addresses it covers") {
  const UniqueFd tcp(::socket(AF_INET6, SOCK_STREAM, 0));
  const int off = 0;
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  if (!tcp || ::setsockopt(tcp.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0 ||
      ::bind(tcp.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    MESSAGE("skipped: this machine has no IPv6");
    return;
  }
  REQUIRE(::listen(tcp.get(), 100) == 0);
  socklen_t size = sizeof address;
  ::getsockname(tcp.get(), reinterpret_cast<sockaddr*>(&address), &size);
  const std::uint16_t port = ntohs(address.sin6_port);
  const UniqueFd taken(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in taken_address{};
  taken_address.sin_family = AF_INET;
  taken_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::bind(taken.get(), reinterpret_cast<const sockaddr*>(&taken_address),
                 sizeof taken_address) == 0);
  REQUIRE(::listen(taken.get(), 1) == 0);
  size = sizeof taken_address;
  ::getsockname(taken.get(), reinterpret_cast<sockaddr*>(&taken_address), &size);

  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(::fcntl(tcp.get(), F_DUPFD, 20), 3);
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDS", "1", 1);
    int code = 1;
    try {
      Server server(TestServer::two_threads(), hello_router());
      // Addresses that the socket covers cannot be bound as well; the defaults are not needed at
      // all.
      server.listen({net::TcpAddress{"127.0.0.1", port}, nullptr});
      server.listen({net::TcpAddress{"::1", port}, nullptr});
      server.listen(
          {net::parse_listen_address("tailscale:" + std::to_string(port), "lo"), nullptr});
      server.listen(
          {net::TcpAddress{"127.0.0.1", ntohs(taken_address.sin_port)}, nullptr, 0660, false});
      server.run();
      code = 0;
    } catch (const std::exception&) {
    }
    ::_exit(code);
  }
  for (int i = 0; i < 50; ++i)
    CHECK(Client(port).get("/hello").status == 200);
  ::kill(child, SIGTERM);
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("the service manager is told of readiness, reloading and stopping") {
  const Directory directory;
  NotifySocket notify(directory.file("notify"));
  Server server(TestServer::two_threads(), hello_router());
  server.listen({net::TcpAddress{"127.0.0.1", 0}, nullptr});
  server.on_reload([] {});
  CHECK(notify.next(50ms).empty());
  {
    const Running running(server);
    CHECK(notify.next(patience) == "READY=1");
    wait_until_serving(server);
    ::kill(::getpid(), SIGHUP);
    CHECK(notify.next(patience).starts_with("RELOADING=1\nMONOTONIC_USEC="));
    CHECK(notify.next(patience) == "READY=1");
  }
  CHECK(notify.next(patience) == "STOPPING=1");
}

TEST_CASE("the watchdog is fed only while every thread serves") {
  const Directory directory;
  NotifySocket notify(directory.file("notify"));
  ::setenv("WATCHDOG_USEC", "400000", 1);
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  auto router = std::make_shared<Router>();
  std::mutex stuck;
  std::atomic<bool> reached{false};
  router->get("/stuck", [&](const Request&, PathParameters) {
    reached = true;
    const std::lock_guard lock(stuck);
    return text_response(200, "x");
  });
  ServerOptions options = TestServer::two_threads();
  options.threads = 3;
  Server server(options, router);
  server.listen({net::TcpAddress{"127.0.0.1", 0}, nullptr});
  {
    const Running running(server);
    CHECK(notify.next(patience) == "READY=1");
    for (int i = 0; i < 3; ++i)
      CHECK(notify.next(patience) == "WATCHDOG=1");
    stuck.lock();
    Client client(port_of_url(server.addresses().at(0)));
    client.send("GET /stuck HTTP/1.1\r\nHost: t\r\n\r\n");
    REQUIRE(eventually([&] { return reached.load(); }));
    // At most two more were in progress.
    int fed = 0;
    while (!notify.next(600ms).empty())
      ++fed;
    CHECK(fed <= 2);
    stuck.unlock();
    CHECK(client.receive().status == 200);
    CHECK(notify.next(patience) == "WATCHDOG=1");
  }
  ::unsetenv("WATCHDOG_USEC");
  ::unsetenv("WATCHDOG_PID");
}

#endif
