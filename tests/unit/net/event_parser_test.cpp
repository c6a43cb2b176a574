#include "common/net/event_parser.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "common/base/error.hpp"
#include "common/net/event_stream.hpp"

using namespace nixbuild;
using namespace nixbuild::net;
using namespace std::chrono_literals;

namespace {

std::string all_of(EventParser& parser) {
  std::string out;
  while (auto event = parser.take()) {
    out += event->type + '(' + event->data + ")#" + event->id + ' ';
  }
  return out;
}

std::string parse(std::string_view text) {
  EventParser parser;
  parser.feed(text);
  return all_of(parser);
}

}  // namespace

TEST_CASE("events are taken out of a stream") {
  CHECK(parse("event: log\nid: 12:40\ndata: one line\n\n") == "log(one line)#12:40 ");
  CHECK(parse("data: a\ndata: b\ndata\n\n") == "message(a\nb\n)# ");
  CHECK(parse("data:no space\ndata:  two\n\n") == "message(no space\n two)# ");
  CHECK(parse(": keep-alive\n\nevent: log\n\ndata\n\n") == "message()# ");
  CHECK(parse("id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n") ==
        "message(a)#1 message(b)#1 message(c)# ");
  CHECK(parse("\xef\xbb\xbf"
              "data: a\nretry: 10\nunknown: x\n\n") == "message(a)# ");
  CHECK(parse("data: cut off") == "");
  CHECK(parse("data: cut off\n") == "");
}

TEST_CASE("a line ends with LF, CR or both") {
  CHECK(parse("data: a\r\n\r\ndata: b\r\rdata: c\n\n") == "message(a)# message(b)# message(c)# ");
}

TEST_CASE("where the bytes are cut makes no difference") {
  const std::string text = "event: log\r\nid: 7\r\ndata: ä b\r\ndata: c\r\n\r\n: x\n\ndata: d\n\n";
  const std::string whole = parse(text);
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    EventParser parser;
    parser.feed(text.substr(0, cut));
    parser.feed(text.substr(cut));
    CHECK(all_of(parser) == whole);
  }
  EventParser parser;
  for (const char c : text)
    parser.feed(std::string(1, c));
  CHECK(all_of(parser) == whole);
}

TEST_CASE("the id of an event that was cut off is not resumed behind") {
  EventParser parser;
  parser.feed("id: 10\ndata: whole\n\nid: 20\ndata: cut o");
  CHECK(all_of(parser) == "message(whole)#10 ");
  CHECK(parser.last_id() == "10");
  parser.reset();
  parser.feed("data: next\n\n");
  CHECK(all_of(parser) == "message(next)#10 ");
}

TEST_CASE("an event without end is refused") {
  EventParser line(100);
  CHECK_THROWS_AS(line.feed(std::string(101, 'x')), FormatError);
  EventParser lines(100);
  CHECK_THROWS_AS(
      [&] {
        for (int i = 0; i < 200; ++i)
          lines.feed("data: x\n");
      }(),
      FormatError);
  EventParser events(100);
  for (int i = 0; i < 200; ++i)
    events.feed("data: x\n\n");
  CHECK(all_of(events).size() > 200);
}

TEST_CASE("tries become rarer, up to a bound, and begin anew") {
  Backoff backoff;
  CHECK(backoff.next(0.5) == 250ms);
  CHECK(backoff.next(0.5) == 500ms);
  CHECK(backoff.next(0) == 800ms);
  CHECK(backoff.next(1) == 2400ms);
  for (int i = 0; i < 20; ++i)
    (void)backoff.next(0.5);
  CHECK(backoff.next(0.5) == 10s);
  backoff.reset();
  CHECK(backoff.next(0.5) == 250ms);
}
