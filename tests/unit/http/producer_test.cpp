// Producers for clients that are slow or disconnect: they are held back, share the thread, and end.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fstream>

#include "support.hpp"

using namespace nixbuild;
using namespace nixbuild::http;
using namespace nixbuild::http::test;

namespace {

long resident_kib() {
  std::ifstream status("/proc/self/status");
  std::string word;
  long kib = 0;
  while (status >> word) {
    if (word == "VmRSS:") status >> kib;
  }
  return kib;
}

// Set by producers, read by the tests.
std::atomic<int> producers_ended{0};
std::atomic<bool> producer_saw_gone{false};
std::atomic<std::uint64_t> produced{0};

asio::awaitable<void> produce_endlessly(BodyWriter& writer, std::uint64_t, std::uint64_t) {
  const std::string bytes(65'536, 'x');
  try {
    for (;;) {
      co_await writer.write(bytes);
      produced += bytes.size();
    }
  } catch (const ClientGone&) {
    producer_saw_gone = true;
  }
  ++producers_ended;
}

struct CountEnd {
  ~CountEnd() { ++producers_ended; }
};

asio::awaitable<void> produce_after_long_wait(BodyWriter& writer, std::uint64_t, std::uint64_t) {
  const CountEnd count;
  asio::steady_timer timer(co_await asio::this_coro::executor, 1h);
  co_await timer.async_wait(asio::use_awaitable);
  co_await writer.write("never");
}

asio::awaitable<void> produce_then_wait(BodyWriter& writer, std::uint64_t, std::uint64_t) {
  const CountEnd count;
  co_await writer.write("first");
  asio::steady_timer timer(co_await asio::this_coro::executor, 1h);
  co_await timer.async_wait(asio::use_awaitable);
}

asio::awaitable<Response> wait_for_ever() {
  const CountEnd count;
  asio::steady_timer timer(co_await asio::this_coro::executor, 1h);
  co_await timer.async_wait(asio::use_awaitable);
  co_return Response{};
}

}  // namespace

TEST_CASE("a slow reader holds back its producer, and memory stays flat") {
  TestServer server([](Router& router) {
    router.get("/endless", [](const Request&, PathParameters) {
      return stream_response(std::nullopt, produce_endlessly);
    });
    router.get("/big", [](const Request&, PathParameters) {
      return stream_response(100'000'000, produce_pattern);
    });
    router.get("/hello",
               [](const Request&, PathParameters) { return text_response(200, "hello"); });
  });
  produced = 0;
  const int before = producers_ended;
  {
    Client client(server.port(), 4096);
    client.send("GET /endless HTTP/1.1\r\nHost: t\r\n\r\n");
    CHECK(client.receive_some(100).size() == 100);
    // The kernel's buffers fill up, and then the producer stops.
    std::uint64_t last = 0;
    CHECK(eventually([&] {
      std::this_thread::sleep_for(100ms);
      return std::exchange(last, produced.load()) == produced.load();
    }));
    CHECK(produced < 64'000'000);
    const long resident = resident_kib();
    Client reader(server.port(), 4096);
    reader.send("GET /big HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    CHECK(reader.discard_all() > 100'000'000);
    CHECK(resident_kib() - resident < 20'000);
  }
  // Closing with unread bytes resets the connection, which ends the producer.
  CHECK(eventually([&] { return producers_ended == before + 1; }));
  CHECK(producer_saw_gone);
  CHECK(Client(server.port()).get("/hello").status == 200);
}

TEST_CASE("a fast producer leaves their turn to other connections of its thread") {
  ServerOptions options = TestServer::two_threads();
  options.threads = 1;
  TestServer server(
      [](Router& router) {
        router.get("/endless", [](const Request&, PathParameters) {
          return stream_response(std::nullopt, produce_endlessly);
        });
        router.get("/file", [](const Request&, PathParameters) {
          constexpr off_t huge = off_t{1} << 40;
          auto file = file_with("");
          REQUIRE(::ftruncate(file->get(), huge) == 0);
          Response response;
          response.body = FileBody{std::move(file), huge};
          return response;
        });
        router.get("/hello",
                   [](const Request&, PathParameters) { return text_response(200, "hello"); });
      },
      options);
  for (const char* path : {"/endless", "/file"}) {
    CAPTURE(path);
    Client endless(server.port());
    endless.send(std::string("GET ") + path + " HTTP/1.1\r\nHost: t\r\n\r\n");
    std::atomic<bool> done{false};
    std::thread reader([&] {
      while (!done && !endless.receive_some(1'000'000).empty()) {
      }
    });
    Client other(server.port());
    for (int i = 0; i < 20; ++i)
      CHECK(other.get("/hello").status == 200);
    done = true;
    reader.join();
  }
}

TEST_CASE("a client that goes away ends what is made for it") {
  TestServer server([](Router& router) {
    router.get("/handler", [](const Request&, PathParameters) -> Reply { return wait_for_ever(); });
    router.get("/producer", [](const Request&, PathParameters) {
      return stream_response(std::nullopt, produce_after_long_wait);
    });
    router.get("/begun", [](const Request&, PathParameters) {
      return stream_response(std::nullopt, produce_then_wait);
    });
  });
  for (const char* path : {"/handler", "/producer", "/begun"}) {
    CAPTURE(path);
    const int before = producers_ended;
    Client client(server.port());
    client.send(std::string("GET ") + path + " HTTP/1.1\r\nHost: t\r\n\r\n");
    REQUIRE(eventually([&] { return server.server().statistics().requests_in_flight == 1; }));
    // The head of a stream is sent before its first byte.
    if (std::string_view(path) != "/handler") CHECK(client.receive_some(15) == "HTTP/1.1 200 OK");
    const linger reset = {1, 0};
    ::setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    client.close();
    CHECK(eventually([&] { return producers_ended == before + 1; }));
    CHECK(eventually([&] { return server.server().statistics().connections_open == 0; }));
    CHECK(server.server().statistics().requests_in_flight == 0);
  }
}

TEST_CASE("a producer that meets a departed client before it ever waits is let go of") {
  ServerOptions options = TestServer::two_threads();
  options.limits.shutdown_timeout = patience;
  std::atomic<bool> reached{false};
  std::atomic<bool> departed{false};
  TestServer server(
      [&](Router& router) {
        router.get("/late", [&](const Request&, PathParameters) {
          reached = true;
          while (!departed)
            std::this_thread::sleep_for(1ms);
          return stream_response(1000, produce_pattern);
        });
      },
      options);
  {
    Client client(server.port());
    client.send("GET /late HTTP/1.1\r\nHost: t\r\n\r\n");
    REQUIRE(eventually([&] { return reached.load(); }));
    const linger reset = {1, 0};
    ::setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  }
  departed = true;
  CHECK(eventually([&] { return server.server().statistics().connections_open == 0; }));
  // Nothing is pending any more.
  const auto begin = std::chrono::steady_clock::now();
  server.stop();
  CHECK(std::chrono::steady_clock::now() - begin < patience / 2);
}
