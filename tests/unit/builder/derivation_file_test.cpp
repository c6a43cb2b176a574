#include "server/builder/derivation_file.hpp"

#include <doctest/doctest.h>

using namespace nixbuild::builder;

using Paths = std::vector<std::string>;

TEST_CASE("the outputs of a derivation") {
  CHECK(derivation_outputs(R"(Derive([("out","/nix/store/a-x","","")],[],[],"s","b",[],[]))") ==
        Paths{"/nix/store/a-x"});
  CHECK(
      derivation_outputs(
          R"(Derive([("dev","/nix/store/a-x-dev","",""),("out","/nix/store/b-x","r:sha256","00")],[],[])") ==
      Paths{"/nix/store/a-x-dev", "/nix/store/b-x"});
  // A floating content-addressed one.
  CHECK(derivation_outputs(R"(Derive([("out","","r:sha256","")],[],[])") == Paths{""});
  CHECK(derivation_outputs(R"(Derive([("o\"ut","/nix","","")],)") == Paths{"/nix"});
}

TEST_CASE("what is no derivation") {
  for (const char* text :
       {"", "Derive", "Derive([", "Derive([]", R"(Derive([("out")", R"(Derive([("out","x","","")",
        R"(Derive([("out","x","",""),)", R"(Derive([("out","x","","")(])", R"(Derive([("out\)",
        R"(DrvWithVersion("x",[("out","x","","")]))"}) {
    CAPTURE(text);
    CHECK_FALSE(derivation_outputs(text));
  }
}
