#include "server/http/request_parser.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

using namespace nixbuild::http;

namespace {

using State = RequestParser::State;

constexpr std::size_t target_limit = 100;

}  // namespace

TEST_CASE("an empty chunked body may come in any pieces") {
  const std::string head = "POST /x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const std::string body : {"0\r\n\r\n", "0\r\nTrailer: x\r\n\r\n", "000;a=b\r\n\r\n"}) {
    for (std::size_t first = 1; first < body.size(); ++first) {
      CAPTURE(body);
      CAPTURE(first);
      RequestParser parser(target_limit);
      REQUIRE(parser.parse_header(head) == State::done);
      parser.limit_body(10);
      std::size_t taken = 0;
      State state = State::need_more;
      for (std::size_t have = first; have <= body.size() && state == State::need_more; ++have) {
        std::size_t consumed = 0;
        state = parser.parse_body(std::string_view(body).substr(taken, have - taken), consumed);
        taken += consumed;
      }
      CHECK(state == State::done);
      CHECK(taken == body.size());
      CHECK(parser.body().empty());
    }
  }
}

TEST_CASE("a chunked body with extensions and trailers may come in any pieces") {
  const std::string head = "POST /x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string body =
      "3;a=b;c\r\nabc\r\n2\r\nde\r\n0;last\r\nHost: other\r\nDigest: 9\r\n\r\n";
  for (std::size_t first = 1; first < body.size(); ++first) {
    for (const std::size_t step : {std::size_t{1}, body.size()}) {
      CAPTURE(first);
      CAPTURE(step);
      RequestParser parser(target_limit);
      REQUIRE(parser.parse_header(head) == State::done);
      parser.limit_body(10);
      std::size_t taken = 0;
      State state = State::need_more;
      for (std::size_t have = first;;) {
        std::size_t consumed = 0;
        state = parser.parse_body(std::string_view(body).substr(taken, have - taken), consumed);
        taken += consumed;
        if (state != State::need_more || have == body.size()) break;
        have = std::min(have + step, body.size());
      }
      CHECK(state == State::done);
      CHECK(taken == body.size());
      CHECK(parser.body() == "abcde");
      CHECK(parser.host() == "t");
    }
  }
}

TEST_CASE("a chunk's first line and the trailers have a limit, whatever pieces they come in") {
  const std::string head = "POST /x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string extension = "3;a=" + std::string(50'000, 'b') + "\r\nabc\r\n0\r\n\r\n";
  for (const std::string& body :
       {extension, "3\r\nabc\r\n" + extension, "0;a=" + std::string(50'000, 'b') + "\r\n\r\n"}) {
    for (const std::size_t step : {std::size_t{1}, std::size_t{1000}, body.size()}) {
      CAPTURE(step);
      RequestParser parser(target_limit);
      REQUIRE(parser.parse_header(head) == State::done);
      parser.limit_body(10);
      std::size_t taken = 0;
      State state = State::need_more;
      std::size_t have = 0;
      while (state == State::need_more && have < body.size()) {
        have = std::min(have + step, body.size());
        std::size_t consumed = 0;
        state = parser.parse_body(std::string_view(body).substr(taken, have - taken), consumed);
        taken += consumed;
      }
      CHECK(state == State::failed);
      CHECK(parser.refusal().status == 431);
      CHECK(have < body.size() + (step == body.size() ? 1 : 0));
    }
  }
}

TEST_CASE("a head may be longer than a target, whatever pieces it comes in") {
  const std::string head = "GET /" + std::string(target_limit - 1, 'a') +
                           " HTTP/1.1\r\nHost: t\r\nX: " + std::string(200, 'x') + "\r\n\r\n";
  for (std::size_t first = 1; first < head.size(); ++first) {
    CAPTURE(first);
    RequestParser parser(target_limit);
    State state = State::need_more;
    for (std::size_t have = first; have <= head.size() && state == State::need_more; ++have)
      state = parser.parse_header(std::string_view(head).substr(0, have));
    CHECK(state == State::done);
    CHECK(parser.target().size() == target_limit);
  }
}

TEST_CASE("a request line is refused before its end, if that cannot come any more") {
  const std::string line = "GET /" + std::string(target_limit * 2, 'a');
  RequestParser parser(target_limit);
  CHECK(parser.parse_header("GE") == State::need_more);
  CHECK(parser.parse_header(line) == State::failed);
  CHECK(parser.refusal().status == 414);
  parser.begin();
  CHECK(parser.parse_header(std::string(33, 'M') + " / HTTP/1.1\r\nHost: t\r\n\r\n") ==
        State::failed);
  CHECK(parser.refusal().status == 400);
}
