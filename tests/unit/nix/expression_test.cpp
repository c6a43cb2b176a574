#include "common/nix/expression.hpp"

#include <doctest/doctest.h>

using namespace nixbuild::nix;

TEST_CASE("text becomes a literal that means the same") {
  CHECK(nix_string("plain") == R"("plain")");
  CHECK(nix_string(R"(q"b\d${x})") == R"("q\"b\\d\${x}")");
  CHECK(nix_string("a\nb\rc\td") == "\"a\\nb\\rc\td\"");
  CHECK(nix_string("''${x}") == R"("''\${x}")");
}

TEST_CASE("this machine's system has a machine and a kernel") {
  const std::string system = this_system();
  CHECK(system.find('-') != std::string::npos);
  CHECK((system.ends_with("-linux") || system.ends_with("-darwin")));
}
