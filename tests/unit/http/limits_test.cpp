// Limits for slow, idle and numerous clients.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <list>

#include "support.hpp"

using namespace nixbuild;
using namespace nixbuild::http;
using namespace nixbuild::http::test;

namespace {

void add_limited_routes(Router& router) {
  router.get("/hello", [](const Request&, PathParameters) { return text_response(200, "hello"); });
  router.get("/big", [](const Request&, PathParameters) {
    return text_response(200, std::string(50'000'000, 'x'));
  });
  router.add(Method::post, "/echo",
             [](const Request& request, PathParameters) {
               return text_response(200, std::string(request.body));
             },
             {.body_limit = 1000});
}

ServerOptions impatient() {
  ServerOptions options = TestServer::two_threads();
  options.limits.header_timeout = 200ms;
  options.limits.idle_timeout = 200ms;
  options.limits.write_timeout = 200ms;
  return options;
}

}  // namespace

TEST_CASE("a head that does not come in time is answered 408") {
  TestServer server(add_limited_routes, impatient());
  for (const char* part : {"G", "GET /hello HTTP/1.1\r\nHost: t\r\n",
                           "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhel"}) {
    CAPTURE(part);
    Client client(server.port());
    client.send(part);
    const Received received = client.receive();
    CHECK(received.status == 408);
    CHECK(received.header("connection") == "close");
    client.end_sending();
    CHECK(client.ended());
  }
  CHECK(server.server().statistics().timeouts == 3);
}

TEST_CASE("a trickle does not stretch the time of a head") {
  ServerOptions options = impatient();
  options.limits.idle_timeout = patience;
  TestServer server(add_limited_routes, options);
  Client client(server.port());
  std::atomic<bool> answered{false};
  std::thread trickle([&] {
    client.send("GET /hello HTTP/1.1\r\nX: ");
    while (!answered) {
      client.send("x");
      std::this_thread::sleep_for(20ms);
    }
  });
  CHECK(client.receive().status == 408);
  answered = true;
  trickle.join();
}

TEST_CASE("an idle connection is closed without a word") {
  TestServer server(add_limited_routes, impatient());
  {
    Client client(server.port());
    CHECK(client.ended());
  }
  {
    Client client(server.port());
    CHECK(client.get("/hello").status == 200);
    CHECK(client.ended());
    CHECK_FALSE(client.was_reset());
  }
  {
    // An empty line does not begin a request either.
    Client client(server.port());
    client.send("\r\n\r\n\r");
    CHECK(client.ended());
  }
  CHECK(server.server().statistics().timeouts == 0);
}

TEST_CASE("a connection in use is not idle") {
  ServerOptions options = impatient();
  options.limits.idle_timeout = 1s;
  TestServer server(add_limited_routes, options);
  Client client(server.port());
  for (int i = 0; i < 15; ++i) {
    REQUIRE(client.get("/hello").status == 200);
    std::this_thread::sleep_for(100ms);
  }
}

TEST_CASE("a client that takes nothing is cut off, one that takes slowly is not") {
  ServerOptions options = impatient();
  options.limits.write_timeout = 2s;
  TestServer server(add_limited_routes, options);
  {
    Client client(server.port(), 4096);
    client.send("GET /big HTTP/1.1\r\nHost: t\r\n\r\n");
    REQUIRE(eventually([&] { return server.server().statistics().timeouts == 1; }));
    CHECK(client.receive_all().size() < 50'000'000);
    CHECK(client.was_reset());
  }
  Client slow(server.port(), 65'536);
  slow.send("GET /big HTTP/1.1\r\nHost: t\r\n\r\n");
  // Longer than the timeout in total.
  for (int i = 0; i < 24; ++i) {
    REQUIRE(slow.receive_some(2'000'000).size() == 2'000'000);
    std::this_thread::sleep_for(100ms);
  }
  CHECK(server.server().statistics().timeouts == 1);
}

TEST_CASE("at the connection limit clients wait, and none is refused") {
  ServerOptions options = TestServer::two_threads();
  options.limits.connections = 3;
  TestServer server(add_limited_routes, options);
  std::list<Client> clients;
  for (int i = 0; i < 3; ++i) {
    CHECK(clients.emplace_back(server.port()).get("/hello").status == 200);
  }
  std::vector<std::thread> waiting;
  std::atomic<int> answered{0};
  for (int i = 0; i < 10; ++i) {
    waiting.emplace_back([&] {
      Client client(server.port());
      if (client.get("/hello").status == 200) ++answered;
    });
  }
  std::this_thread::sleep_for(200ms);
  CHECK(answered == 0);
  CHECK(server.server().statistics().connections_open == 3);
  clients.pop_front();
  for (std::thread& thread : waiting)
    thread.join();
  CHECK(answered == 10);
}

TEST_CASE("at the connection limit those that are idle make room for those that wait") {
  ServerOptions options = TestServer::two_threads();
  options.limits.connections = 30;
  options.limits.crowded_idle_timeout = 300ms;
  TestServer server(add_limited_routes, options);
  // Half of them have sent a request before, half never have.
  std::list<Client> idle;
  for (int i = 0; i < 30; ++i) {
    Client& client = idle.emplace_back(server.port());
    if (i % 2 == 0) CHECK(client.get("/hello").status == 200);
  }
  CHECK(eventually([&] { return server.server().statistics().connections_open == 30; }));
  // No client is waiting, so no connection is closed.
  std::this_thread::sleep_for(1500ms);
  CHECK(server.server().statistics().connections_open == 30);
  for (int i = 0; i < 10; ++i)
    CHECK(Client(server.port()).get("/hello").status == 200);
  CHECK(server.server().statistics().timeouts == 0);
}

TEST_CASE("out of descriptors, clients wait and the server does not spin") {
  TestServer server(add_limited_routes);
  Client first(server.port());
  CHECK(first.get("/hello").status == 200);
  // All descriptors below the limit are in use but one, which the client takes. The kernel
  // completes its connection, but the server has no descriptor to accept it with.
  std::vector<UniqueFd> taken;
  while (taken.empty() || taken.back().get() < first.fd())
    taken.emplace_back(::dup(0));
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(taken.back().get()) + 1;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  taken.pop_back();
  Client waiting(server.port());
  waiting.send("GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
  timespec cpu_before{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu_before);
  // Open connections continue.
  CHECK(first.get("/hello").status == 200);
  std::this_thread::sleep_for(500ms);
  timespec cpu_after{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu_after);
  const double used = static_cast<double>(cpu_after.tv_sec - cpu_before.tv_sec) +
                      static_cast<double>(cpu_after.tv_nsec - cpu_before.tv_nsec) * 1e-9;
  CHECK(used < 0.25);
  CHECK(server.server().statistics().connections_accepted == 1);
  ::setrlimit(RLIMIT_NOFILE, &before);
  CHECK(waiting.receive().status == 200);
}

TEST_CASE("a low limit of open files is raised to what the connections need") {
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit low = before;
  low.rlim_cur = 256;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
  {
    ServerOptions options = TestServer::two_threads();
    options.limits.connections = 600;
    TestServer server(add_limited_routes, options);
    rlimit raised{};
    ::getrlimit(RLIMIT_NOFILE, &raised);
    CHECK(raised.rlim_cur > 2 * 600);
    CHECK(raised.rlim_max == before.rlim_max);
    std::list<Client> clients;
    for (int i = 0; i < 500; ++i)
      clients.emplace_back(server.port());
    CHECK(clients.back().get("/hello").status == 200);
  }
  ::setrlimit(RLIMIT_NOFILE, &before);
}

TEST_CASE("a request that its client gives up is no longer in flight") {
  TestServer server(add_limited_routes);
  {
    Client client(server.port());
    client.send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhel");
    REQUIRE(eventually([&] { return server.server().statistics().requests_in_flight == 1; }));
  }
  REQUIRE(eventually([&] { return server.server().statistics().connections_open == 0; }));
  CHECK(server.server().statistics().requests_in_flight == 0);
}
