#include "server/builder/flake_config.hpp"

#include <doctest/doctest.h>

using namespace nixbuild::builder;

TEST_CASE("a flake sets limits, and nothing that runs code or says whom to trust") {
  for (const char* name : {"cores", "max-jobs", "extra-substituters"}) {
    CAPTURE(name);
    CHECK(is_flake_option(name));
  }
  for (const char* name : {"",
                           "plugin-files",
                           "extra-plugin-files",
                           "post-build-hook",
                           "pre-build-hook",
                           "build-hook",
                           "diff-hook",
                           "run-diff-hook",
                           "trusted-public-keys",
                           "extra-trusted-public-keys",
                           "trusted-substituters",
                           "require-sigs",
                           "secret-key-files",
                           "netrc-file",
                           "access-tokens",
                           "store",
                           "builders",
                           "sandbox",
                           "extra-sandbox-paths",
                           "restrict-eval",
                           "pure-eval",
                           "allowed-uris",
                           "nix-path",
                           "allow-unsafe-native-code-during-evaluation"}) {
    CAPTURE(name);
    CHECK_FALSE(is_flake_option(name));
  }
}
