// How responses are sent: ranges, conditions, streams, files.
#include <doctest/doctest.h>
#include <fcntl.h>
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

constexpr std::uint64_t body_size = 1'000'000;

// The same bytes in each kind of body.
void add_kinds(Router& router) {
  router.get("/{kind}", [](const Request&, PathParameters parameters) -> Reply {
    const std::string_view kind = parameters[0];
    if (kind == "plain") return text_response(200, "0123456789");
    Response response;
    response.accept_ranges = true;
    response.empty_range_at_end = true;
    response.etag = "\"v1\"";
    response.cache_control = "max-age=60";
    if (kind == "string") response.body = pattern(0, body_size);
    if (kind == "shared")
      response.body = std::make_shared<const std::string>(pattern(0, body_size));
    if (kind == "file") response.body = FileBody{file_with(pattern(0, body_size)), body_size};
    if (kind == "stream") response.body = StreamBody{body_size, produce_pattern};
    if (kind == "empty") response.body = std::string();
    if (kind == "none") response.empty_range_at_end = false;
    if (kind == "unsized") {
      response.body =
          StreamBody{std::nullopt, [](BodyWriter& writer, std::uint64_t, std::uint64_t) {
                       return produce_pattern(writer, 0, body_size);
                     }};
    }
    return response;
  });
}

constexpr const char* kinds[] = {"string", "shared", "file", "stream"};

asio::awaitable<void> throw_at_once(BodyWriter&, std::uint64_t, std::uint64_t) {
  throw std::runtime_error("nothing there");
  co_return;
}

asio::awaitable<void> write_then_throw(BodyWriter& writer, std::uint64_t, std::uint64_t) {
  co_await writer.write("part");
  throw std::runtime_error("vanished");
}

asio::awaitable<void> write_too_little(BodyWriter& writer, std::uint64_t, std::uint64_t length) {
  co_await produce_pattern(writer, 0, length - 1);
}

asio::awaitable<void> write_too_much(BodyWriter& writer, std::uint64_t, std::uint64_t length) {
  co_await produce_pattern(writer, 0, length);
  try {
    co_await writer.write("more");
  } catch (const Error&) {
    // The connection is cut all the same.
  }
}

asio::awaitable<void> send_short_file(BodyWriter& writer, std::uint64_t, std::uint64_t length) {
  const auto file = file_with(pattern(0, 1000));
  co_await writer.send_file(file->get(), 0, length);
}

// Pieces of memory and of a file in turn.
asio::awaitable<void> produce_mixed(BodyWriter& writer, std::uint64_t, std::uint64_t) {
  const auto file = file_with(pattern(0, body_size));
  std::uint64_t position = 0;
  std::uint64_t step = 1;
  while (position < body_size) {
    const std::uint64_t length = std::min(step, body_size - position);
    if (step % 2 == 0) {
      const std::string bytes = pattern(position, length);
      co_await writer.write(bytes);
    } else {
      co_await writer.send_file(file->get(), position, length);
    }
    position += length;
    step = step * 3 / 2 + 1;
  }
  co_await writer.write("");
  co_await writer.send_file(file->get(), 0, 0);
}

asio::awaitable<Response> answer_later(std::string text) {
  asio::steady_timer timer(co_await asio::this_coro::executor, 1ms);
  co_await timer.async_wait(asio::use_awaitable);
  co_return text_response(200, std::move(text));
}

asio::awaitable<Response> answer_at_once(std::string text) {
  co_return text_response(200, std::move(text));
}

asio::awaitable<Response> throw_later() {
  asio::steady_timer timer(co_await asio::this_coro::executor, 1ms);
  co_await timer.async_wait(asio::use_awaitable);
  throw std::runtime_error("later");
}

}  // namespace

TEST_CASE("every kind of body arrives whole, and cut to a range") {
  TestServer server(add_kinds);
  Client client(server.port());
  for (const char* kind : kinds) {
    CAPTURE(kind);
    const std::string path = std::string("/") + kind;
    const Received whole = client.get(path);
    CHECK(whole.status == 200);
    CHECK(whole.header("accept-ranges") == "bytes");
    CHECK(whole.header("content-length") == "1000000");
    CHECK(whole.header("etag") == "\"v1\"");
    CHECK(whole.header("cache-control") == "max-age=60");
    CHECK(whole.body == pattern(0, body_size));

    const Received middle = client.get(path, "Range: bytes=1000-499999\r\n");
    CHECK(middle.status == 206);
    CHECK(middle.header("content-range") == "bytes 1000-499999/1000000");
    CHECK(middle.body == pattern(1000, 499'000));

    CHECK(client.get(path, "Range: bytes=999999-\r\n").body == pattern(999'999, 1));
    CHECK(client.get(path, "Range: bytes=-10\r\n").body == pattern(999'990, 10));

    const Received at_end = client.get(path, "Range: bytes=1000000-\r\n");
    CHECK(at_end.status == 206);
    CHECK(at_end.body.empty());
    CHECK(at_end.header("content-length") == "0");
    CHECK(at_end.header("content-range") == "bytes 1000000-999999/1000000");

    for (const char* range : {"bytes=1000001-", "bytes=-0", "bytes=a-", "bytes=0-1,3-4", "bytes"}) {
      CAPTURE(range);
      const Received outside = client.get(path, std::string("Range: ") + range + "\r\n");
      CHECK(outside.status == 416);
      CHECK(outside.header("content-range") == "bytes */1000000");
      CHECK(outside.header("accept-ranges") == "bytes");
    }
    client.send("HEAD " + path + " HTTP/1.1\r\nHost: t\r\nRange: bytes=0-1\r\n\r\n");
    const Received head = client.receive(true);
    CHECK(head.status == 200);
    CHECK(head.header("content-length") == "1000000");
  }
  CHECK(server.server().statistics().connections_accepted == 1);
}

TEST_CASE("ranges where they are not served, or cannot be") {
  TestServer server(add_kinds);
  Client client(server.port());
  const Received plain = client.get("/plain", "Range: bytes=1-2\r\n");
  CHECK(plain.status == 200);
  CHECK(plain.body == "0123456789");
  CHECK(plain.header("accept-ranges").empty());
  CHECK(client.get("/plain", "Range: bytes=x\r\n").status == 200);
  CHECK(client.get("/string", "Range: lines=1-2\r\n").status == 200);
  CHECK(client.get("/none", "Range: bytes=0-\r\n").status == 416);
  CHECK(client.get("/empty", "Range: bytes=0-\r\n").status == 206);
  // Never 200: the client would treat the body as the range.
  CHECK(client.get("/unsized", "Range: bytes=1-\r\n").status == 500);
  CHECK(client.get("/unsized", "Range: bytes=x\r\n").status == 416);
  CHECK(client.get("/unsized").body == pattern(0, body_size));
}

TEST_CASE("If-Range and If-None-Match") {
  TestServer server(add_kinds);
  Client client(server.port());
  CHECK(client.get("/string", "Range: bytes=1-2\r\nIf-Range: \"v1\"\r\n").status == 206);
  const Received changed = client.get("/string", "Range: bytes=1-2\r\nIf-Range: \"v0\"\r\n");
  CHECK(changed.status == 200);
  CHECK(changed.body.size() == body_size);
  CHECK(client.get("/string", "Range: bytes=x\r\nIf-Range: \"v0\"\r\n").status == 200);
  for (const char* kind : kinds) {
    CAPTURE(kind);
    for (const char* value : {"\"v1\"", "W/\"v1\"", "*", "\"v0\", \"v1\""}) {
      const Received same =
          client.get(std::string("/") + kind, std::string("If-None-Match: ") + value + "\r\n");
      CHECK(same.status == 304);
      CHECK(same.header("etag") == "\"v1\"");
      CHECK(same.header("cache-control") == "max-age=60");
      CHECK(same.header("content-length").empty());
    }
  }
  CHECK(client.get("/string", "If-None-Match: \"v0\"\r\n").status == 200);
  CHECK(client.get("/string", "If-None-Match: \"v1\"\r\nRange: bytes=1-2\r\n").status == 304);
  client.send("HEAD /string HTTP/1.1\r\nHost: t\r\nIf-None-Match: \"v1\"\r\n\r\n");
  CHECK(client.receive(true).status == 304);
}

TEST_CASE("bodies of unknown size are chunked, and end with the connection in HTTP/1.0") {
  TestServer server([](Router& router) {
    add_kinds(router);
    router.get("/mixed/{how}", [](const Request&, PathParameters parameters) {
      const bool sized = parameters[0] == "sized";
      return stream_response(sized ? std::optional(body_size) : std::nullopt, produce_mixed);
    });
  });
  Client client(server.port());
  for (const char* path : {"/mixed/sized", "/mixed/unsized", "/unsized"}) {
    CAPTURE(path);
    const Received received = client.get(path);
    CHECK(received.whole);
    CHECK(received.body == pattern(0, body_size));
    CHECK((received.header("transfer-encoding") == "chunked") ==
          (std::string_view(path) != "/mixed/sized"));
  }
  client.send("HEAD /unsized HTTP/1.1\r\nHost: t\r\n\r\n");
  CHECK(client.receive(true).status == 200);
  client.send("GET /unsized HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const Received old = client.receive();
  CHECK(old.header("connection") == "close");
  CHECK(old.header("transfer-encoding").empty());
  CHECK(old.body == pattern(0, body_size));
  CHECK(old.whole);
}

TEST_CASE("handlers may answer later") {
  TestServer server([](Router& router) {
    router.get("/later/{text}", [](const Request&, PathParameters parameters) -> Reply {
      return answer_later(std::string(parameters[0]));
    });
    router.get("/now/{text}", [](const Request&, PathParameters parameters) -> Reply {
      return answer_at_once(std::string(parameters[0]));
    });
    router.get("/throws", [](const Request&, PathParameters) -> Reply { return throw_later(); });
  });
  Client client(server.port());
  std::string requests;
  for (int i = 0; i < 50; ++i) {
    const std::string end = std::to_string(i) + " HTTP/1.1\r\nHost: t\r\n\r\n";
    requests += "GET /later/" + end + "GET /now/" + end;
  }
  client.send(requests);
  for (int i = 0; i < 50; ++i) {
    CHECK(client.receive().body == std::to_string(i));
    CHECK(client.receive().body == std::to_string(i));
  }
  CHECK(client.get("/throws").status == 500);
  CHECK(client.get("/now/x").body == "x");
}

TEST_CASE("a body that fails is cut, never passed for a whole one") {
  TestServer server([](Router& router) {
    const auto add = [&router](const char* pattern, std::optional<std::uint64_t> length,
                               auto produce) {
      router.get(pattern, [length, produce](const Request&, PathParameters) {
        return stream_response(length, produce);
      });
    };
    add("/throws/sized", 100, write_then_throw);
    add("/throws/unsized", std::nullopt, write_then_throw);
    add("/throws/at-once", 100, throw_at_once);
    add("/short", 100'000, write_too_little);
    add("/short-file", 100'000, send_short_file);
    add("/long", 100'000, write_too_much);
    router.get("/truncated", [](const Request&, PathParameters) {
      Response response;
      response.body = FileBody{file_with(pattern(0, 1000)), 100'000};
      return response;
    });
  });
  for (const char* path :
       {"/throws/sized", "/throws/unsized", "/short", "/short-file", "/truncated"}) {
    CAPTURE(path);
    Client client(server.port());
    const Received received = client.get(path);
    CHECK(received.status == 200);
    CHECK_FALSE(received.whole);
    CHECK_FALSE(received.body.empty());
    CHECK(client.ended());
  }
  {
    // The client has received everything that was announced, so only the next response is at risk.
    Client client(server.port());
    CHECK(client.get("/long").body == pattern(0, 100'000));
    CHECK(client.ended());
  }
  {
    // Without framing, only a reset shows that the body is incomplete.
    Client client(server.port());
    client.send("GET /throws/unsized HTTP/1.0\r\n\r\n");
    CHECK_FALSE(client.receive().whole);
    CHECK(client.was_reset());
  }
  {
    // Nothing had been sent, so the client gets an error, and the connection continues.
    Client client(server.port());
    CHECK(client.get("/throws/at-once").status == 500);
    CHECK(client.get("/throws/at-once").status == 500);
  }
}

TEST_CASE("a large file that is answered later comes whole") {
  constexpr std::size_t large = 40'000'000;
  const auto file = file_with(std::string(large, 'x'));
  TestServer server([file](Router& router) {
    router.get("/file", [file](const Request&, PathParameters) {
      return [](std::shared_ptr<const UniqueFd> body) -> asio::awaitable<Response> {
        asio::steady_timer timer(co_await asio::this_coro::executor, 1ms);
        co_await timer.async_wait(asio::use_awaitable);
        Response response;
        response.body = FileBody{std::move(body), large};
        co_return response;
      }(file);
    });
  });
  // A client that keeps pace always leaves room in the socket, so that there is no event.
  for (int i = 0; i < 10; ++i) {
    Client client(server.port());
    const Received received = client.get("/file");
    CHECK(received.whole);
    CHECK(received.body.size() == large);
  }
}

TEST_CASE("a file that shrinks while it is sent cuts the connection") {
  const auto file = file_with(std::string(50'000'000, 'x'));
  TestServer server([file](Router& router) {
    router.get("/file", [file](const Request&, PathParameters) {
      Response response;
      response.body = FileBody{file, 50'000'000};
      return response;
    });
  });
  Client client(server.port(), 4096);
  client.send("GET /file HTTP/1.1\r\nHost: t\r\n\r\n");
  CHECK(client.receive_some(1000).size() == 1000);
  REQUIRE(::ftruncate(file->get(), 1'000'000) == 0);
  CHECK(client.receive_all().size() < 50'000'000);
}

TEST_CASE("statistics count responses by route and status") {
  TestServer server(add_kinds);
  Client client(server.port());
  client.get("/string");
  client.get("/string", "Range: bytes=0-9\r\n");
  client.get("/string", "If-None-Match: *\r\n");
  client.get("/string", "Range: bytes=x\r\n");
  client.get("/a/b");
  REQUIRE(eventually([&] { return server.server().statistics().requests_in_flight == 0; }));
  const ServerStatistics statistics = server.server().statistics();
  REQUIRE(statistics.responses.size() == 1);
  CHECK(statistics.responses[0] == std::array<std::uint64_t, 6>{0, 0, 2, 1, 1, 0});
  CHECK(statistics.unmatched == std::array<std::uint64_t, 6>{0, 0, 0, 0, 1, 0});
  CHECK(statistics.bytes_sent >= 1'000'010);
  CHECK(statistics.bytes_sent < 1'000'200);
  CHECK(statistics.connections_open == 1);
}
