#include "server/builder/nix_expression.hpp"

#include <doctest/doctest.h>

using namespace nixbuild::builder;

TEST_CASE("the reference of a clone") {
  const std::string commit(40, 'a');
  CHECK(git_flake_reference("/var/lib/x", commit) == "git+file:///var/lib/x?rev=" + commit);
  CHECK(git_flake_reference("/a b?c#%", commit, "d/e&f") ==
        "git+file:///a%20b%3Fc%23%25?rev=" + commit + "&dir=d/e%26f");
  CHECK(git_flake_reference("/x", commit, "", Depth::shallow) ==
        "git+file:///x?rev=" + commit + "&shallow=1");
}

TEST_CASE("names are quoted in expressions") {
  const std::string evil = "\"; builtins.abort ${x}";
  const Query query{"git+file:///x", "", {evil}, {{Root::Kind::listed, {evil}}}};
  for (const std::string& text : {evaluate_expression(query), outline_expression(query)}) {
    CHECK(text.find(R"("\"; builtins.abort \${x}")") != std::string::npos);
    CHECK(text.find(evil) == std::string::npos);
  }
}
