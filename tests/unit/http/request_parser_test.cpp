#include "server/http/request_parser.hpp"

#include <doctest/doctest.h>

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
