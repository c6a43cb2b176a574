#include "cli/bootstrap/next_steps.hpp"

#include <doctest/doctest.h>

#include <string>

#include "../support/temporary_directory.hpp"
#include "common/base/files.hpp"

using namespace nixbuild::cli;
namespace fs = std::filesystem;

namespace {

SwitchConditions usual_conditions() {
  SwitchConditions conditions;
  conditions.to_add = {".gitignore", "home.nix", "flake.nix"};
  conditions.cache_url = "http://build-server:5000";
  conditions.public_key = "build-server-1:AAAA=";
  return conditions;
}

}  // namespace

TEST_CASE("outside git the first switch downloads from the server") {
  CHECK(render(next_steps("/home/ann/nix", false, usual_conditions())) ==
        "home-manager switch --flake .#default --option extra-substituters "
        "http://build-server:5000 --option extra-trusted-public-keys build-server-1:AAAA=\n");
}

TEST_CASE("inside git the files are made known and the evaluation is impure") {
  SwitchConditions conditions = usual_conditions();
  conditions.in_git = true;
  conditions.may_substitute = false;
  CHECK(render(next_steps("/home/ann/a b", true, conditions)) ==
        "cd '/home/ann/a b'\n"
        "git add --intent-to-add -- .gitignore home.nix flake.nix\n"
        "home-manager switch --flake .#default --impure\n");
}

TEST_CASE("a machine without flakes and home-manager gets both") {
  SwitchConditions conditions = usual_conditions();
  conditions.has_flakes = false;
  conditions.has_home_manager = false;
  conditions.may_substitute = false;
  CHECK(render(next_steps("/home/ann/nix", false, conditions)) ==
        "export NIX_CONFIG='extra-experimental-features = nix-command flakes'\n"
        "nix run github:nix-community/home-manager -- switch --flake .#default\n");
}

TEST_CASE("with several machines the switch names the one that was added") {
  SwitchConditions conditions = usual_conditions();
  conditions.configuration = "ann@desktop";
  conditions.may_substitute = false;
  CHECK(render(next_steps("/home/ann/nix", false, conditions)) ==
        "home-manager switch --flake .#ann@desktop\n");
}

TEST_CASE("files that home-manager did not create are renamed by it") {
  const nixbuild::test::TemporaryDirectory home;
  const std::vector<fs::path> managed = {".config/nix/nix.conf", ".bashrc", ".zshrc", ".profile"};
  CHECK(files_in_the_way(home.path(), managed).empty());

  fs::create_directories(home.path() / ".config/nix");
  nixbuild::write_file_atomic(home.path() / ".config/nix/nix.conf", "a", 0644);
  fs::create_symlink("/nix/store/0-home-manager-files/.bashrc", home.path() / ".bashrc");
  fs::create_symlink("/home/ann/dotfiles/zshrc", home.path() / ".zshrc");
  const auto files = files_in_the_way(home.path(), managed);
  CHECK(files == std::vector<fs::path>{".config/nix/nix.conf", ".zshrc"});

  CHECK(backup_extension(home.path(), files) == "backup");
  nixbuild::write_file_atomic(home.path() / ".config/nix/nix.conf.backup", "b", 0644);
  fs::create_symlink("/nowhere", home.path() / ".zshrc.backup-2");
  CHECK(backup_extension(home.path(), files) == "backup-3");

  SwitchConditions conditions = usual_conditions();
  conditions.may_substitute = false;
  conditions.backup_extension = "backup-3";
  CHECK(render(next_steps("/home/ann/nix", false, conditions)) ==
        "home-manager switch --flake .#default -b backup-3\n");
}

TEST_CASE("what an untrusted user's daemon has to allow") {
  const std::string cache = "http://build-server:5000";
  HomePlan plan;
  plan.system = "x86_64-linux";
  plan.public_key = "build-server-1:AAAA=";
  LocalNix nix;
  const auto lines = [&](const char* profile, const char* system_settings) {
    plan.profile = profile;
    nix.system_settings = parse_nix_settings(system_settings);
    return lines_for_daemon(plan, cache, nix).value_or("");
  };
  CHECK(lines("server", "") ==
        "    extra-substituters = http://build-server:5000\n"
        "    extra-trusted-public-keys = build-server-1:AAAA=");
  CHECK(lines("server", "substituters = http://build-server:5000/").empty());
  // These ask the proxy on their own machine.
  CHECK(lines("laptop", "substituters = http://build-server:5000/") ==
        "    extra-trusted-substituters = http://127.0.0.1:5001\n"
        "    extra-trusted-public-keys = build-server-1:AAAA=");
  CHECK(lines("desktop", "trusted-substituters = http://127.0.0.1:5001").empty());
  plan.system = "aarch64-darwin";
  CHECK(lines("laptop", "substituters = http://build-server:5000/").empty());
  nix.is_trusted = true;
  CHECK(lines("server", "").empty());
}
