#include "server/builder/nix_expression.hpp"

#include <doctest/doctest.h>

#include "common/base/error.hpp"

using namespace nixbuild;
using namespace nixbuild::builder;

TEST_CASE("attribute paths as they are shown") {
  CHECK(attribute_name({"packages", "x86_64-linux", "hello"}) == "packages.x86_64-linux.hello");
  CHECK(attribute_name({"a.b", "", "1x", "x'"}) == R"("a.b"."".)"
                                                   R"("1x".x')");
  CHECK(attribute_name({}).empty());
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

TEST_CASE("the reference of a clone") {
  const std::string commit(40, 'a');
  CHECK(git_flake_reference("/var/lib/x", commit, false) == "git+file:///var/lib/x?rev=" + commit);
  CHECK(git_flake_reference("/a b?c#%", commit, true) ==
        "git+file:///a%20b%3Fc%23%25?rev=" + commit + "&submodules=1");
}

TEST_CASE("names are quoted in expressions") {
  const std::string evil = "\"; builtins.abort ${x}";
  CHECK(target_expression("git+file:///x", {evil}).find(R"("\"; builtins.abort \${x}")") !=
        std::string::npos);
}
