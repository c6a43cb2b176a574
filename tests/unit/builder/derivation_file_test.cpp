#include "server/builder/derivation_file.hpp"

#include <doctest/doctest.h>

using namespace nixbuild::builder;

namespace {

// A derivation with `outputs`, by default empty.
std::string with_outputs(const std::string& outputs) {
  return "Derive([" + outputs + R"(],[],[],"s","b",[],[]))";
}

std::vector<std::string> output_paths(const std::string& outputs) {
  const auto derivation = parse_derivation(with_outputs(outputs));
  REQUIRE(derivation);
  std::vector<std::string> paths;
  for (const auto& output : derivation->outputs)
    paths.push_back(output.name + "=" + output.path);
  return paths;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("the outputs of a derivation") {
  CHECK(output_paths(R"(("out","/nix/store/a-x","",""))") == Texts{"out=/nix/store/a-x"});
  CHECK(output_paths(
            R"(("dev","/nix/store/a-x-dev","",""),("out","/nix/store/b-x","r:sha256","00"))") ==
        Texts{"dev=/nix/store/a-x-dev", "out=/nix/store/b-x"});
  // Content-addressed: its path is not known yet.
  CHECK(output_paths(R"(("out","","r:sha256",""))") == Texts{"out="});
  CHECK(output_paths(R"(("o\"ut","/nix\\","",""))") == Texts{"o\"ut=/nix\\"});
  CHECK(output_paths("").empty());
}

TEST_CASE("what a derivation builds from") {
  const auto derivation = parse_derivation(
      R"(Derive([("out","/o","","")],[("/s/a.drv",["dev","out"]),("/s/b.drv",[])],["/s/c","/s/d"],)"
      R"("x86_64-linux","/bin/sh",["-c","a\n\tb\\\"\r"],[("a","1"),("text","x\ny")]))");
  REQUIRE(derivation);
  CHECK(derivation->inputs ==
        std::map<std::string, std::set<std::string>>{{"/s/a.drv", {"dev", "out"}}});
  CHECK(derivation->sources == Texts{"/s/c", "/s/d"});
  CHECK(derivation->system == "x86_64-linux");
  CHECK(derivation->environment ==
        std::map<std::string, std::string>{{"a", "1"}, {"text", "x\ny"}});
}

TEST_CASE("what is no derivation") {
  const std::string whole = with_outputs(R"(("out","x","",""))");
  CHECK(parse_derivation(whole));
  for (std::size_t length = 0; length < whole.size(); ++length) {
    CAPTURE(length);
    CHECK_FALSE(parse_derivation(whole.substr(0, length)));
  }
  for (const char* text :
       {R"(Derive([("out","x","",""),],[],[],"s","b",[],[]))",
        R"(Derive([("out","x","","")(],[],[],"s","b",[],[]))", R"(Derive([("out\)",
        R"(DrvWithVersion("x",[("out","x","","")],[],[],"s","b",[],[]))"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_derivation(text));
  }
}
