#include "cli/bootstrap/next_steps.hpp"

#include <doctest/doctest.h>

using namespace nixbuild::cli;

namespace {

SwitchConditions usual() {
  SwitchConditions conditions;
  conditions.to_add = {".gitignore", "home.nix", "flake.nix"};
  conditions.cache_url = "http://build-server:5000";
  conditions.public_key = "build-server-1:AAAA=";
  return conditions;
}

}  // namespace

TEST_CASE("outside git the first switch downloads from the server") {
  CHECK(render(next_steps("/home/ann/nix", false, usual())) ==
        "home-manager switch --flake .#default --option extra-substituters "
        "http://build-server:5000 --option extra-trusted-public-keys build-server-1:AAAA=\n");
}

TEST_CASE("inside git the files are made known and the evaluation is impure") {
  SwitchConditions conditions = usual();
  conditions.in_git = true;
  conditions.may_substitute = false;
  CHECK(render(next_steps("/home/ann/a b", true, conditions)) ==
        "cd '/home/ann/a b'\n"
        "git add --intent-to-add -- .gitignore home.nix flake.nix\n"
        "home-manager switch --flake .#default --impure\n");
}

TEST_CASE("a machine without flakes and home-manager gets both") {
  SwitchConditions conditions = usual();
  conditions.has_flakes = false;
  conditions.has_home_manager = false;
  conditions.may_substitute = false;
  CHECK(render(next_steps("/home/ann/nix", false, conditions)) ==
        "export NIX_CONFIG='extra-experimental-features = nix-command flakes'\n"
        "nix run github:nix-community/home-manager -- switch --flake .#default\n");
}
