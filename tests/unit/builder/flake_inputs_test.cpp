#include "server/builder/flake_inputs.hpp"

#include <doctest/doctest.h>

#include <string>

#include "common/base/error.hpp"

using namespace nixbuild;
using namespace nixbuild::builder;

namespace {

std::string lock_with(const std::string& locked) {
  return R"({"nodes":{"root":{"inputs":{"a":"a"}},"a":{"inputs":{},"locked":{)" + locked +
         R"(}}},"root":"root","version":7})";
}

}  // namespace

TEST_CASE("a locked input that is a file of the server is refused unless it is allowed") {
  for (const char* locked : {
           R"("type":"path","path":"/srv/x/a")",
           R"("type":"git","url":"file:///srv/x/a")",
           R"("type":"git","url":"/srv/x/a")",
           R"("type":"hg","url":"file:///srv/x/a?rev=1")",
           R"("type":"file","url":"file:///srv/x/a")",
           R"("type":"tarball","url":"file:/srv/x/a.tar.gz")",
           R"("type":"git","url":"git+file:///srv/x/a")",
       }) {
    const std::string lock = lock_with(locked);
    CAPTURE(lock);
    CHECK_THROWS_AS(check_locked_inputs(lock, {}), Error);
    CHECK_THROWS_AS(check_locked_inputs(lock, {"/srv/xy", "/srv/x/a/b"}), Error);
    CHECK_NOTHROW(check_locked_inputs(lock, {"/opt", "/srv/x"}));
  }
  CHECK_THROWS_AS(
      check_locked_inputs(lock_with(R"("type":"path","path":"/srv/x/../y")"), {"/srv/x"}), Error);
}

TEST_CASE("inputs from elsewhere and directories of the flake itself are no files of the server") {
  for (const char* locked : {
           R"("type":"github","owner":"o","repo":"r","path":"/srv")",
           R"("type":"git","url":"https://h/srv/a")",
           R"("type":"git","url":"ssh://git@h/srv/a")",
           R"("type":"path","path":"./sub","parent":[])",
           R"("type":"tarball","url":"https://h/a?file=/etc/passwd")",
       }) {
    CAPTURE(locked);
    CHECK_NOTHROW(check_locked_inputs(lock_with(locked), {}));
  }
  for (const char* text : {"", "[]", "not json", R"({"nodes":[]})", R"({"nodes":{"a":1}})"})
    CHECK_NOTHROW(check_locked_inputs(text, {}));
}
