#include "server/builder/evaluation_result.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace nixbuild::builder;

namespace {

std::string netstring(const std::string& text) {
  return fmt::format("{}:{}", text.size(), text);
}

std::string record(const std::vector<std::string>& fields) {
  std::string text;
  for (const std::string& field : fields)
    text += netstring(field);
  return netstring(text);
}

}  // namespace

TEST_CASE("netstrings hold any bytes") {
  const std::string odd = "a:1:b\xff\n\"";
  CHECK(split_netstrings(netstring(odd) + netstring("") + netstring("x")) ==
        std::vector<std::string_view>{odd, "", "x"});
  CHECK(split_netstrings("")->empty());
  for (const char* bad : {"1", "1:", "2:a", ":a", "a", "-1:a", "1:ab", "99999999999999999999:a",
                          "18446744073709551615:a"}) {
    CAPTURE(bad);
    CHECK_FALSE(split_netstrings(bad));
  }
}

TEST_CASE("the answer of an evaluation") {
  const auto found = parse_evaluation_result(
      record({"derivation", "3", "/nix/store/x.drv", "x86_64-linux", "packages", "a.b"}) +
      record({"refused", "0", "it is null", "", "x"}) + record({"home", "1", "true", "false"}) +
      record({"listed", "2", "", "", "a"}));
  REQUIRE(found);
  REQUIRE(found->size() == 4);
  const Found& first = found->front();
  CHECK(first.kind == Found::Kind::derivation);
  CHECK(first.root == 3);
  CHECK(first.derivation == "/nix/store/x.drv");
  CHECK(first.system == "x86_64-linux");
  CHECK(first.path == nixbuild::nix::AttributePath{"packages", "a.b"});
  CHECK((*found)[1].reason == "it is null");
  CHECK((*found)[2].has_home_modules);
  CHECK_FALSE((*found)[2].has_home_manager);
  CHECK((*found)[3].kind == Found::Kind::listed);
}

TEST_CASE("what is no answer") {
  CHECK_FALSE(parse_evaluation_result("x"));
  CHECK_FALSE(parse_evaluation_result(record({"derivation", "0", ""})));
  CHECK_FALSE(parse_evaluation_result(record({"unknown", "0", "", ""})));
  CHECK_FALSE(parse_evaluation_result(record({"listed", "0x", "", ""})));
  CHECK_FALSE(parse_evaluation_result(record({"listed", "", "", ""})));
  CHECK_FALSE(parse_evaluation_result(netstring("x")));
}
