#include "common/nix/attribute_path.hpp"

#include <doctest/doctest.h>

#include "common/base/error.hpp"

using namespace nixbuild;
using namespace nixbuild::nix;

TEST_CASE("attribute paths as they are shown") {
  CHECK(attribute_name({"packages", "x86_64-linux", "hello"}) == "packages.x86_64-linux.hello");
  CHECK(attribute_name({"a.b", "", "1x", "x'"}) == R"("a.b"."".)"
                                                   R"("1x".x')");
  CHECK(attribute_name({}).empty());
}

TEST_CASE("hostile names are shown as short text, and none as another") {
  const std::string longest(131'072, 'x');
  const std::string name = attribute_name({"packages", longest});
  CHECK(name.size() <= longest_attribute_name + 16);
  CHECK(name != attribute_name({"packages", longest + "x"}));
  CHECK(attribute_name({"a\x1b[2Jb"}).find('\x1b') == std::string::npos);
  CHECK(attribute_name({"a\x01"}) != attribute_name({"a"}));
  CHECK(attribute_name({"\xff"}) != attribute_name({"\xfe"}));
  CHECK(attribute_name({"a\nb"}).find('\n') == std::string::npos);
}

TEST_CASE("attribute paths as they are configured") {
  CHECK(parse_attribute_path("a") == AttributePath{"a"});
  CHECK(parse_attribute_path("a.b-c.d") == AttributePath{"a", "b-c", "d"});
  CHECK(parse_attribute_path("a.\"b.c\".d") == AttributePath{"a", "b.c", "d"});
  for (const char* bad : {"", ".", "a.", ".a", "a..b", "\"a", "a.\"\"", "\"a\"b"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(parse_attribute_path(bad), UsageError);
  }
}
