#include "cli/machine/nix_settings.hpp"

#include <doctest/doctest.h>

using namespace nixbuild::cli;

TEST_CASE("settings as Nix prints them") {
  const NixSettings settings = parse_nix_settings(
      "experimental-features = nix-command flakes\nsubstituters = https://a http://b \n"
      "netrc-file =\ntrusted-users = root\nno line\n");
  CHECK(list_of(settings, "substituters") == std::vector<std::string>{"https://a", "http://b"});
  CHECK(list_of(settings, "netrc-file").empty());
  CHECK(list_of(settings, "absent").empty());
  CHECK(settings.find("trusted-users")->second == "root");
}

TEST_CASE("versions") {
  CHECK(parse_nix_version("nix (Nix) 2.8.0") == NixVersion{2, 8});
  CHECK(parse_nix_version("nix (Nix) 2.26.3\n") == NixVersion{2, 26});
  CHECK(parse_nix_version("nix (Nix) 2.33pre20260822_88b09c6") == NixVersion{2, 33});
  CHECK(parse_nix_version("nix (Determinate Nix 3.1.0) 2.28.1") == NixVersion{3, 1});
  CHECK_FALSE(parse_nix_version("nix").has_value());
  CHECK(NixVersion{2, 8} < NixVersion{2, 26});
}

TEST_CASE("trusted-users names users, groups, or everybody") {
  CHECK(names_user({"root", "ann"}, "ann", {}));
  CHECK(names_user({"@wheel"}, "ann", {"users", "wheel"}));
  CHECK(names_user({"*"}, "ann", {}));
  CHECK_FALSE(names_user({"root", "@wheel"}, "ann", {"users"}));
  CHECK_FALSE(names_user({"wheel"}, "ann", {"wheel"}));
  CHECK_FALSE(names_user({}, "", {}));
}

TEST_CASE("caches are the same whatever stands behind their URL") {
  CHECK(same_cache("http://s:5000", "http://s:5000/"));
  CHECK(same_cache("http://s:5000?priority=1", "http://s:5000"));
  CHECK_FALSE(same_cache("http://s:5000", "http://s:5001"));
}

TEST_CASE("the daemon takes from untrusted users what it allows all of them") {
  LocalNix nix;
  nix.settings = parse_nix_settings(
      "substituters = https://a http://mine http://allowed\ntrusted-public-keys = a mine\n");
  nix.system_settings = parse_nix_settings(
      "substituters = https://a\ntrusted-substituters = http://allowed/\ntrusted-public-keys = "
      "a\n");
  CHECK(nix.substituters() == std::vector<std::string>{"https://a", "http://allowed"});
  CHECK(nix.trusted_public_keys() == std::vector<std::string>{"a"});
  nix.is_trusted = true;
  CHECK(nix.substituters() ==
        std::vector<std::string>{"https://a", "http://mine", "http://allowed"});
  CHECK(nix.trusted_public_keys() == std::vector<std::string>{"a", "mine"});
}

TEST_CASE("flakes need two features") {
  LocalNix nix;
  nix.settings = parse_nix_settings("experimental-features = flakes\n");
  CHECK_FALSE(nix.has_flakes());
  nix.settings = parse_nix_settings("experimental-features = ca-derivations flakes nix-command\n");
  CHECK(nix.has_flakes());
}
