// How requests are read: framing, malformed requests, limits, bodies.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "support.hpp"

using namespace nixbuild;
using namespace nixbuild::http;
using namespace nixbuild::http::test;

namespace {

void add_request_routes(Router& router) {
  router.get("/hello", [](const Request& request, PathParameters) {
    return text_response(200, "hello " + std::string(request.query_parameter("name").value_or("")));
  });
  router.get("/path/{rest...}", [](const Request& request, PathParameters parameters) {
    return text_response(200, std::string(parameters[0]) + "|" + std::string(request.target));
  });
  router.get("/headers", [](const Request& request, PathParameters) {
    return text_response(200, std::string(request.header("x-TEST")) + "|" +
                                  std::string(request.header("Absent")) + "|" +
                                  std::string(request.peer.substr(0, 10)));
  });
  router.add(Method::post, "/echo",
             [](const Request& request, PathParameters) {
               return text_response(200, std::string(request.body));
             },
             {.body_limit = 100'000});
  router.get("/throws",
             [](const Request&, PathParameters) -> Reply { throw std::runtime_error("no luck"); });
  router.get("/bad-header", [](const Request&, PathParameters) {
    Response response = text_response(200, "x");
    response.headers.emplace_back("X-Name", "a\r\nSet-Cookie: b");
    return response;
  });
}

std::string get(const std::string& path) {
  return "GET " + path + " HTTP/1.1\r\nHost: t\r\n\r\n";
}

}  // namespace

TEST_CASE("a chunked body whose head ends where the buffer does") {
  TestServer server([](Router& router) {
    router.get("/", [](const Request&, PathParameters) { return text_response(200, "x"); });
    RouteOptions options;
    options.body_limit = 1000;
    router.add(
        Method::post, "/",
        [](const Request& request, PathParameters) {
          return text_response(200, std::string(request.body));
        },
        options);
  });
  const std::string head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  constexpr std::size_t buffer = 16 * 1024 + 4096;
  for (std::size_t room = 0; room < 20; ++room) {
    CAPTURE(room);
    std::string before;
    for (int i = 0; i < 2; ++i) {
      const std::size_t until = (buffer - head.size() - room) * static_cast<std::size_t>(i + 1) / 2;
      before += "GET / HTTP/1.1\r\nHost: x\r\nX: ";
      before += std::string(until - before.size() - 4, 'y') + "\r\n\r\n";
    }
    Client client(server.port());
    client.send(before + head + "3\r\nabc\r\n0\r\n\r\n");
    for (int i = 0; i < 2; ++i)
      CHECK(client.receive().status == 200);
    CHECK(client.receive().body == "abc");
  }
}

TEST_CASE("a connection serves one request after another") {
  TestServer server(add_request_routes);
  Client client(server.port());
  for (int i = 0; i < 100; ++i) {
    const Received received = client.get("/hello?name=w%6Frld");
    REQUIRE(received.status == 200);
    CHECK(received.body == "hello world");
    CHECK(received.header("connection").empty());
    CHECK(received.header("date").ends_with(" GMT"));
    CHECK(received.header("content-type") == "text/plain; charset=utf-8");
  }
  CHECK(server.server().statistics().connections_accepted == 1);
}

TEST_CASE("HEAD is answered as GET, without the body") {
  TestServer server(add_request_routes);
  Client client(server.port());
  client.send("HEAD /hello HTTP/1.1\r\nHost: t\r\n\r\n" + get("/hello?name=x"));
  const Received head = client.receive(true);
  CHECK(head.status == 200);
  CHECK(head.header("content-length") == "6");
  CHECK(client.receive().body == "hello x");
}

TEST_CASE("pipelined requests are answered in order") {
  TestServer server(add_request_routes);
  Client client(server.port());
  std::string requests;
  constexpr int count = 2000;
  for (int i = 0; i < count; ++i)
    requests += get("/hello?name=" + std::to_string(i));
  std::thread sender([&] { client.send(requests); });
  for (int i = 0; i < count; ++i) {
    const Received received = client.receive();
    REQUIRE(received.status == 200);
    REQUIRE(received.body == "hello " + std::to_string(i));
  }
  sender.join();
}

TEST_CASE("a request may come byte by byte") {
  TestServer server(add_request_routes);
  Client client(server.port());
  const std::string request =
      "\r\nPOST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello" +
      get("/hello?name=x") +
      "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n";
  std::thread sender([&] {
    for (const char c : request) {
      client.send(std::string_view(&c, 1));
      std::this_thread::sleep_for(100us);
    }
  });
  CHECK(client.receive().body == "hello");
  CHECK(client.receive().body == "hello x");
  CHECK(client.receive().body == "abcde");
  sender.join();
}

TEST_CASE("paths and headers reach the handler") {
  TestServer server(add_request_routes);
  Client client(server.port());
  CHECK(client.get("/path/a%20b/c?x=%41").body == "a b/c|/path/a%20b/c?x=%41");
  CHECK(client.get("http://test/path/x").body == "x|http://test/path/x");
  CHECK(client.get("/headers", "X-Test:  two words \r\n").body == "two words||127.0.0.1:");
}

TEST_CASE("methods and paths that are not served") {
  TestServer server(add_request_routes);
  Client client(server.port());
  CHECK(client.get("/none").status == 404);
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"}) {
    CAPTURE(method);
    client.send(std::string(method) + " /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    const Received received = client.receive();
    CHECK(received.status == 405);
    CHECK(received.header("allow") == "GET, HEAD");
  }
  CHECK(client.get("/echo").header("allow") == "POST");
  // All of them on one connection.
  CHECK(server.server().statistics().connections_accepted == 1);
}

TEST_CASE("a handler's exception is a 500, and the connection goes on") {
  TestServer server(add_request_routes);
  Client client(server.port());
  const Received received = client.get("/throws");
  CHECK(received.status == 500);
  CHECK(received.body.find("no luck") == std::string::npos);
  CHECK(client.get("/bad-header").status == 500);
  CHECK(client.get("/hello").status == 200);
}

TEST_CASE("malformed requests are answered 400 and end the connection") {
  TestServer server(add_request_routes);
  for (const char* request : {
           "GET /hello\r\n\r\n",
           "GET  /hello HTTP/1.1\r\nHost: t\r\n\r\n",
           "GET /hello HTTP/1.1 \r\nHost: t\r\n\r\n",
           "GET /hello HTTP/2.0\r\nHost: t\r\n\r\n",
           "GET /hello HTTP/1.1\nHost: t\n\n",
           "/hello\r\n\r\n",
           "G@T /hello HTTP/1.1\r\nHost: t\r\n\r\n",
           "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS handshake",
           "GET /hello HTTP/1.1\r\n\r\n",
           "GET /hello HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
           "GET /hello HTTP/1.1\r\nHost: a/b\r\n\r\n",
           "GET /hello HTTP/1.1\r\nHost: a, b\r\n\r\n",
           "GET /hello HTTP/1.1\r\nHost : t\r\n\r\n",
           "GET /hello HTTP/1.1\r\nHost: t\r\nno colon\r\n\r\n",
           "GET /hello HTTP/1.1\r\nHost: t\r\nX: a\r\n folded\r\n\r\n",
           "GET /hello HTTP/1.1\r\nHost: t\r\nX: a\rb\r\n\r\n",
           // Requests that some readers would see as two, others as one.
           "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
           "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5, 6\r\n\r\nhello",
           "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nTransfer-Encoding: "
           "chunked\r\n\r\n0\r\n\r\n",
           "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nContent-Length: "
           "5\r\n\r\n0\r\n\r\n",
           "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
           "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: identity\r\n\r\n",
           "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: xchunked\r\n\r\n",
           "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
           "chunked\r\n\r\n0\r\n\r\n",
           "POST /echo HTTP/1.0\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
           "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n",
           "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5x\r\n\r\nhello",
           "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999999999999999999\r\n\r\n",
           "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
           "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX\r\n",
           "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: "
           "chunked\r\n\r\nfffffffffffffffff\r\n",
       }) {
    CAPTURE(request);
    Client client(server.port());
    client.send(request);
    const Received received = client.receive();
    CHECK(received.status == 400);
    CHECK(received.header("connection") == "close");
    client.end_sending();
    CHECK(client.ended());
    CHECK_FALSE(client.was_reset());
  }
}

TEST_CASE("targets that lead elsewhere are answered 400, and the connection goes on") {
  TestServer server(add_request_routes);
  Client client(server.port());
  for (const char* target : {"/path/../hello", "/path/%2e%2e%2fhello", "/path/%zz", "/path/%00",
                             "/path/.", "*", "http://other/hello", "/path/a#b"}) {
    CAPTURE(target);
    CHECK(client.get(target).status == 400);
  }
  CHECK(client.get("/hello").status == 200);
}

TEST_CASE("the limits of a head") {
  ServerOptions options = TestServer::two_threads();
  options.limits.header_size = 2000;
  options.limits.target_size = 500;
  TestServer server(add_request_routes, options);
  const auto status = [&](const std::string& request) {
    Client client(server.port());
    client.send(request);
    const Received received = client.receive();
    if (received.status != 200) {
      client.end_sending();
      CHECK(client.ended());
      CHECK_FALSE(client.was_reset());
    }
    return received.status;
  };
  const auto padded = [](std::size_t size) {
    const std::string begin = "GET /hello HTTP/1.1\r\nHost: t\r\nX: ";
    return begin + std::string(size - begin.size() - 4, 'x') + "\r\n\r\n";
  };
  CHECK(status(padded(2000)) == 200);
  CHECK(status(padded(2001)) == 431);
  CHECK(status(padded(100'000)) == 431);
  CHECK(status("GET /hello HTTP/1.1\r\nHost: t\r\nX: " + std::string(100'000, 'x')) == 431);
  CHECK(status("GET /hello HTTP/1.1\r\nHost: t\r\n" + std::string(300'000, 'x')) == 431);
  std::string many = "GET /hello HTTP/1.1\r\nHost: t\r\n";
  for (int i = 0; i < 200; ++i)
    many += "A: b\r\n";
  CHECK(status(many + "\r\n") == 431);
  CHECK(status(get("/path/" + std::string(494, 'x'))) == 200);
  CHECK(status(get("/path/" + std::string(495, 'x'))) == 414);
  CHECK(status(get("/" + std::string(100'000, 'x'))) == 414);
  CHECK(status("GET /" + std::string(700, 'x')) == 414);
  // The body does not count towards the head's limit.
  CHECK(status("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 50000\r\n\r\n" +
               std::string(50'000, 'x')) == 200);
}

TEST_CASE("HTTP/1.0 and Connection") {
  TestServer server(add_request_routes);
  {
    Client client(server.port());
    client.send("GET /hello HTTP/1.0\r\n\r\n");
    const Received received = client.receive();
    CHECK(received.status == 200);
    CHECK(received.header("connection") == "close");
    CHECK(client.ended());
  }
  {
    Client client(server.port());
    client.send("GET /hello HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    CHECK(client.receive().header("connection") == "keep-alive");
    client.send("GET /hello HTTP/1.1\r\nHost: t\r\nConnection: foo, Close\r\n\r\n");
    CHECK(client.receive().header("connection") == "close");
    CHECK(client.ended());
  }
}

TEST_CASE("request bodies") {
  TestServer server(add_request_routes);
  Client client(server.port());
  const std::string body = pattern(0, 100'000);
  client.send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n" + body);
  CHECK(client.receive().body == body);
  std::string chunked = "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (std::size_t i = 0; i < body.size(); i += 10)
    chunked += "A\r\n" + body.substr(i, 10) + "\r\n";
  client.send(chunked + "0\r\n\r\n");
  CHECK(client.receive().body == body);
  client.send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n");
  CHECK(client.receive().body.empty());
  client.send("POST /echo HTTP/1.1\r\nHost: t\r\n\r\n");
  CHECK(client.receive().body.empty());
  CHECK(server.server().statistics().connections_accepted == 1);
}

TEST_CASE("request bodies that are too long are answered 413, in a way that arrives") {
  TestServer server(add_request_routes);
  const auto status = [&](const std::string& head, const std::string& body) {
    Client client(server.port());
    std::thread sender([&] { client.send(head + "\r\n" + body); });
    const Received received = client.receive();
    CHECK(received.header("connection") == "close");
    sender.join();
    client.end_sending();
    CHECK(client.ended());
    CHECK_FALSE(client.was_reset());
    return received.status;
  };
  const std::string post = "POST /echo HTTP/1.1\r\nHost: t\r\n";
  CHECK(status(post + "Content-Length: 100001\r\n", std::string(100'001, 'x')) == 413);
  CHECK(status(post + "Content-Length: 3000000\r\n", std::string(3'000'000, 'x')) == 413);
  CHECK(status(post + "Transfer-Encoding: chunked\r\n",
               "186A1\r\n" + std::string(100'001, 'x') + "\r\n0\r\n\r\n") == 413);
  CHECK(status("GET /hello HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n", "x") == 413);
  CHECK(status("POST /none HTTP/1.1\r\nHost: t\r\nContent-Length: 500000\r\n",
               std::string(500'000, 'x')) == 404);
  CHECK(status(post + "Transfer-Encoding: chunked\r\n", "1;" + std::string(50'000, 'e')) == 431);
}

TEST_CASE("Expect: 100-continue") {
  TestServer server(add_request_routes);
  {
    Client client(server.port());
    const std::string head = "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n";
    client.send(head + "Expect: 100-Continue\r\n\r\n");
    CHECK(client.receive().status == 100);
    client.send("abc");
    CHECK(client.receive().body == "abc");
    // No 100 Continue for a body that has already arrived.
    client.send(head + "Expect: 100-continue\r\n\r\ndef");
    CHECK(client.receive().body == "def");
    client.send(head + "Expect: coffee\r\n\r\n");
    CHECK(client.receive().status == 417);
  }
  {
    Client client(server.port());
    client.send(
        "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 999999\r\nExpect: "
        "100-continue\r\n\r\n");
    CHECK(client.receive().status == 413);
  }
}

TEST_CASE("a client that has ended its sending still gets its answers") {
  TestServer server(add_request_routes);
  Client client(server.port());
  client.send(get("/hello?name=a") + get("/hello?name=b"));
  client.end_sending();
  CHECK(client.receive().body == "hello a");
  CHECK(client.receive().body == "hello b");
  CHECK(client.ended());
  CHECK_FALSE(client.was_reset());
}

TEST_CASE("errors take the form that the router gives them") {
  TestServer server([](Router& router) {
    router.set_error_response([](unsigned status, std::string_view reason) {
      if (status == 405) throw std::runtime_error("broken");
      return json_response(status, "{\"detail\": \"" + std::string(reason) + "\"}");
    });
    router.add(Method::post, "/a", [](const Request&, PathParameters) { return Response{}; });
  });
  Client client(server.port());
  const Received received = client.get("/none");
  CHECK(received.status == 404);
  CHECK(received.body == "{\"detail\": \"not found\"}");
  CHECK(received.header("content-type") == "application/json");
  CHECK(client.get("/a").status == 405);
}

TEST_CASE("a connection that has been closed gets no events, though a child holds its socket") {
  ServerOptions options = TestServer::two_threads();
  options.threads = 1;
  TestServer server(add_request_routes, options);
  Client client(server.port());
  REQUIRE(client.get("/hello").status == 200);
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    // Only system calls: other threads may have held locks.
    ::close(pipe[1]);
    char byte = 0;
    while (::read(pipe[0], &byte, 1) < 0) {
    }
    ::_exit(0);
  }
  REQUIRE(child > 0);
  client.send("GET /hello HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
  CHECK(client.receive().status == 200);
  CHECK(eventually([&] { return server.server().statistics().connections_open == 0; }));
  client.send(get("/hello"));
  for (int i = 0; i < 10; ++i)
    CHECK(Client(server.port()).get("/hello").status == 200);
  ::close(pipe[1]);
  ::close(pipe[0]);
  int status = 0;
  CHECK(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}
