#include "common/base/nearest.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using nixbuild::nearest;

TEST_CASE("a mistyped name finds what was meant") {
  const std::vector<std::string> commands = {"trigger", "status", "logs", "keys"};
  CHECK(nearest("triger", commands) == "trigger");
  CHECK(nearest("trigegr", commands) == "trigger");  // two letters swapped
  CHECK(nearest("stauts", commands) == "status");
  CHECK(nearest("log", commands) == "logs");
  CHECK(nearest("key", commands) == "keys");
}

TEST_CASE("what is like none of the names finds none") {
  const std::vector<std::string> commands = {"trigger", "status", "logs", "q"};
  CHECK_FALSE(nearest("frobnicate", commands));
  CHECK_FALSE(nearest("", commands));
  CHECK_FALSE(nearest("x", commands));
  CHECK_FALSE(nearest(std::string(100'000, 'l'), commands));
  CHECK_FALSE(nearest("status", {}));
}
