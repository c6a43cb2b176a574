#include "server/proxy/http_loop.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

using namespace nixbuild::proxy;

namespace {

ResponseHead head_of(std::string_view line) {
  ResponseHead head;
  read_header_line(line, head);
  return head;
}

}  // namespace

TEST_CASE("lengths and ranges of a head") {
  CHECK(head_of("Content-Length: 17\r\n").length == 17);
  CHECK_FALSE(head_of("Content-Length: -1\r\n").length);
  CHECK_FALSE(head_of("Content-Length: 1x\r\n").length);
  const ResponseHead part = head_of("content-range: bytes 5-9/10\r\n");
  CHECK(part.range_first == 5);
  CHECK(part.range_size == 10);
  const ResponseHead empty = head_of("Content-Range: bytes 10-9/10\r\n");
  CHECK(empty.range_first == 10);
  CHECK(empty.range_size == 10);
  const ResponseHead behind = head_of("Content-Range: bytes */10\r\n");
  CHECK_FALSE(behind.range_first);
  CHECK(behind.range_size == 10);
  for (const char* line :
       {"Content-Range: bytes 5-8/10", "Content-Range: bytes 9-5/10", "Content-Range: bytes 5-9/*",
        "Content-Range: bytes 5-10/10", "Content-Range: items 5-9/10", "Content-Range: bytes 5-9",
        "Content-Range: bytes", "Content-Range: bytes -9/10", "Content-Range 5-9/10"}) {
    CAPTURE(line);
    CHECK_FALSE(head_of(line).range_first);
    CHECK_FALSE(head_of(line).range_size);
  }
}

TEST_CASE("encodings and etags of a head") {
  CHECK(head_of("Content-Encoding: br\r\n").is_encoded);
  CHECK_FALSE(head_of("Content-Encoding: identity\r\n").is_encoded);
  CHECK(head_of("ETag: \"abc\"\r\n").etag == "\"abc\"");
  CHECK(head_of("ETag: \"a\tb\"\r\n").etag.empty());
  CHECK(head_of("ETag: " + std::string(1000, 'a')).etag.empty());
}
