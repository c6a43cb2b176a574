#include "common/net/event_stream.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "common/base/unique_fd.hpp"
#include "common/net/silence_clock.hpp"

using namespace nixbuild;
using namespace nixbuild::net;
using namespace std::chrono_literals;

namespace {

constexpr std::string_view stream_head =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

// Accepts one connection after another: reads the request's head, sends the next of `answers`, then
// closes or, with `hold`, keeps the connection open without sending more. After the last answer,
// connections are refused.
class Server {
 public:
  struct Answer {
    std::string text;
    bool hold = false;
  };

  explicit Server(std::vector<Answer> answers) : answers_(std::move(answers)) {
    ::signal(SIGPIPE, SIG_IGN);
    listener_.reset(::socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    REQUIRE(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(::listen(listener_.get(), 16) == 0);
    REQUIRE(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~Server() { thread_.join(); }

  HttpOptions options() const {
    HttpOptions options;
    options.server.host = "127.0.0.1";
    options.server.port = port_;
    return options;
  }
  // To be read only after all answers have been sent.
  const std::vector<std::string>& requests() {
    if (thread_.joinable()) thread_.join();
    thread_ = std::thread([] {});
    return requests_;
  }

 private:
  void serve() {
    for (const Answer& answer : answers_) {
      UniqueFd connection(::accept(listener_.get(), nullptr, nullptr));
      std::string request;
      char buffer[4096];
      while (request.find("\r\n\r\n") == std::string::npos) {
        const ssize_t size = ::read(connection.get(), buffer, sizeof(buffer));
        if (size <= 0) break;
        request.append(buffer, static_cast<std::size_t>(size));
      }
      requests_.push_back(request);
      (void)!::write(connection.get(), answer.text.data(), answer.text.size());
      if (answer.hold) held_.push_back(std::move(connection));
    }
    listener_.reset();
  }

  std::vector<Answer> answers_;
  std::vector<std::string> requests_;
  UniqueFd listener_;
  std::vector<UniqueFd> held_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

std::string stream_of(std::string_view events) {
  return std::string(stream_head) + std::string(events);
}

// The outcomes up to the event `end`.
std::string happenings(EventStream& stream) {
  std::string out;
  for (int i = 0; i < 1000; ++i) {
    const auto news = stream.wait(100ms);
    switch (news.kind) {
      case EventStream::News::Kind::nothing:
        break;
      case EventStream::News::Kind::lost:
        out += "lost ";
        break;
      case EventStream::News::Kind::regained:
        out += "regained ";
        break;
      case EventStream::News::Kind::event:
        out += news.event.data + ' ';
        if (news.event.type == "end") return out;
        break;
    }
  }
  return out + "(no end)";
}

}  // namespace

TEST_CASE("a stream that is cut is taken up again") {
  Server server({{stream_of("id: 1:4\ndata: one\n\nid: 1:8\ndata: cu")},
                 {stream_of("id: 1:8\ndata: two\n\n")},
                 {stream_of("event: end\ndata: three\n\n")}});
  EventStream stream(server.options(), "/stream");
  // Of several losses in quick succession, only the first is reported.
  CHECK(happenings(stream) == "one lost regained two three ");
  REQUIRE(server.requests().size() == 3);
  CHECK(server.requests()[0].find("Last-Event-ID") == std::string::npos);
  CHECK(server.requests()[1].find("Last-Event-ID: 1:4\r\n") != std::string::npos);
  CHECK(server.requests()[2].find("Last-Event-ID: 1:8\r\n") != std::string::npos);
}

TEST_CASE("a connection on which nothing comes is taken for dead") {
  Server server(
      {{stream_of("id: 1\ndata: one\n\n"), true}, {stream_of("event: end\ndata: two\n\n"), true}});
  EventStream stream(server.options(), "/stream", {1s, 60s});
  CHECK(happenings(stream) == "one lost regained two ");
}

TEST_CASE("a server that stays away is given up") {
  Server server({{stream_of("data: one\n\n")}});
  EventStream stream(server.options(), "/stream", {60s, 1s});
  CHECK_THROWS_AS(happenings(stream), UnreachableError);
}

TEST_CASE("a connection without an answer is none on which the stream fell silent") {
  Server server({{stream_of("data: one\n\n")}, {"", true}});
  HttpOptions options = server.options();
  options.total_timeout = 1s;
  EventStream stream(options, "/stream", {60s, 0s});
  CHECK_THROWS_WITH_AS(happenings(stream), doctest::Contains("did not answer"), UnreachableError);
}

TEST_CASE("a first connection that fails is an error, and so is a refusal later") {
  Server missing({{"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"}});
  EventStream first(missing.options(), "/");
  CHECK_THROWS_AS(happenings(first), RefusedError);
  Server removed({{stream_of("data: one\n\n")},
                  {"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"},
                  {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"}});
  EventStream later(removed.options(), "/");
  CHECK_THROWS_AS(happenings(later), RefusedError);
}

TEST_CASE("the difference of the clocks comes from the head of the answer") {
  Server server(
      {{"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        "Date: Thu, 01 Jan 1970 00:00:10 GMT\r\n\r\nevent: end\ndata: x\n\n"}});
  EventStream stream(server.options(), "/");
  CHECK(stream.clock_offset() == 0s);
  happenings(stream);
  CHECK(stream.clock_offset() < -1'000'000s);
}

TEST_CASE("waiting ends when something else is there") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  REQUIRE(::write(write_end.get(), "x", 1) == 1);
  Server server({{stream_of("data: one\n\n"), true}});
  EventStream stream(server.options(), "/");
  bool event = false;
  while (!event)
    event = stream.wait(1h, read_end.get()).kind == EventStream::News::Kind::event;
  CHECK(stream.wait(1h, read_end.get()).kind == EventStream::News::Kind::nothing);
}

TEST_CASE("silence counts sleep, and is not fooled by a clock that is set back") {
  SilenceClock clock;
  const SilenceClock::Steady steady(100h);
  const SilenceClock::System system(1000000h);
  clock.restart(steady, system);
  CHECK(clock.elapsed(steady + 2s, system + 2s) == 2s);
  CHECK(clock.elapsed(steady + 2s, system + 8h) == 8h);
  CHECK(clock.elapsed(steady + 50s, system - 8h) == 50s);
}
