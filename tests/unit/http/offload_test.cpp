// Work on another thread for clients that may disconnect meanwhile.
#include "server/async/offload.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <atomic>
#include <list>
#include <stdexcept>

#include "support.hpp"

using namespace nixbuild;
using namespace nixbuild::http;
using namespace nixbuild::http::test;

namespace {

asio::awaitable<void> send_for_ever(BodyWriter& out, asio::thread_pool& pool) {
  for (;;) {
    std::function<std::string()> work = [] { return std::string(20'000, 'x'); };
    asio::awaitable<std::string> making = async::offload<std::string>(pool, std::move(work));
    const std::string text = co_await std::move(making);
    asio::awaitable<void> writing = out.write(text);
    co_await std::move(writing);
  }
}

asio::awaitable<Response> answer(asio::thread_pool& pool, std::function<std::string()> work) {
  asio::awaitable<std::string> making = async::offload<std::string>(pool, std::move(work));
  const std::string text = co_await std::move(making);
  co_return text_response(200, text);
}

// Resets the connection, like a client that is killed with unread data.
void reset(Client& client) {
  const struct ::linger hard = {1, 0};
  ::setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  client.close();
}

}  // namespace

TEST_CASE("what is made on another thread, or thrown there, comes to the one that asked") {
  asio::thread_pool pool(2);
  TestServer server([&](Router& router) {
    router.get("/right", [&](const Request&, PathParameters) {
      return Reply(answer(pool, [] { return std::string("made"); }));
    });
    router.get("/wrong", [&](const Request&, PathParameters) {
      return Reply(answer(pool, []() -> std::string { throw std::runtime_error("wrong"); }));
    });
  });
  Client client(server.port());
  for (int i = 0; i < 100; ++i)
    CHECK(client.get("/right").body == "made");
  CHECK(client.get("/wrong").status == 500);
  CHECK(client.get("/right").body == "made");
  server.stop();
  pool.join();
}

TEST_CASE("clients that go while work is done for them do no harm") {
  asio::thread_pool pool(2);
  TestServer server([&](Router& router) {
    router.get("/stream", [&](const Request&, PathParameters) {
      return stream_response(std::nullopt, [&](BodyWriter& out, std::uint64_t, std::uint64_t) {
        return send_for_ever(out, pool);
      });
    });
    router.get("/hello", [](const Request&, PathParameters) { return text_response(200, "hi"); });
  });
  for (int round = 0; round < 20; ++round) {
    std::list<Client> clients;
    for (int i = 0; i < 40; ++i) {
      Client& client = clients.emplace_back(server.port());
      client.send("GET /stream HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    for (Client& client : clients) {
      CHECK(client.receive_some(1000).size() == 1000);
      reset(client);
    }
  }
  CHECK(Client(server.port()).get("/hello").body == "hi");
  CHECK(eventually([&] { return server.server().statistics().requests_in_flight == 0; }));
  server.stop();
  pool.join();
}
