#include "cli/bootstrap/generated_files.hpp"

#include <doctest/doctest.h>

#include <cstdlib>

#include "common/base/error.hpp"
#include "common/base/files.hpp"

using namespace nixbuild;
using namespace nixbuild::cli;
namespace fs = std::filesystem;

namespace {

HomePlan usual_plan() {
  HomePlan plan;
  plan.profile = "laptop";
  plan.host = "new-laptop";
  plan.user = "ann";
  plan.home_directory = "/home/ann";
  plan.system = "x86_64-linux";
  plan.server = "build-server";
  plan.public_key = "build-server-1:Ppfs4u4Zi77ZguR6GbdFlHqFfYm99VHew4xO33MVXrM=";
  plan.auth_key_file = "/home/ann/.config/nixbuild/tailscale-auth-key";
  plan.bootstrap_url = "github:Bullish-Design/atuin-bootstrap";
  plan.terminal_url = "github:Bullish-Design/nix-terminal";
  plan.directory = "/home/ann/nix";
  return plan;
}

std::string content_of(const HomePlan& plan, const fs::path& name) {
  for (const GeneratedFile& file : generated_files(plan)) {
    if (file.path == name) return file.content;
  }
  return "(none)";
}

// If NIXBUILD_WRITE_GOLDEN is set, the golden files are written instead.
void check_golden(const HomePlan& plan, const fs::path& directory) {
  for (const GeneratedFile& file : generated_files(plan)) {
    // A .gitignore in this tree would take effect.
    fs::path golden = fs::path(GOLDEN_FILES) / directory / file.path;
    if (golden.filename() == ".gitignore") golden.replace_filename("gitignore");
    if (std::getenv("NIXBUILD_WRITE_GOLDEN") != nullptr) {
      fs::create_directories(golden.parent_path());
      write_file_atomic(golden, file.content, 0644);
    }
    CAPTURE(golden.string());
    CHECK(read_file(golden).value_or("(none)") == file.content);
  }
}

}  // namespace

TEST_CASE("golden: one machine") {
  check_golden(usual_plan(), "one-machine");
}

TEST_CASE("golden: several machines") {
  HomePlan plan = usual_plan();
  plan.multi_host = true;
  check_golden(plan, "several-machines");
}

TEST_CASE("golden: a client") {
  HomePlan plan = usual_plan();
  plan.profile = "client";
  check_golden(plan, "client");
}

TEST_CASE("a client has neither Atuin nor Syncthing nor a terminal") {
  HomePlan plan = usual_plan();
  plan.profile = "client";
  for (const GeneratedFile& file : generated_files(plan)) {
    CAPTURE(file.path.string());
    for (const char* word : {"nix-terminal", "atuin =", "atuin.enable", "syncthing", "tailscale"})
      CHECK(file.content.find(word) == std::string::npos);
  }
  CHECK(managed_files(plan).size() == 2);
  CHECK(managed_files(usual_plan()).size() > 2);
}

TEST_CASE("golden: odd names") {
  HomePlan plan = usual_plan();
  plan.profile = "server";
  plan.host = "höst.\"${x}\".example";
  plan.user = "o'\"$${ann}\\";
  plan.home_directory = "/home/" + plan.user;
  plan.cache_url = "http://[fd7a::1]:5001/${cache}";
  plan.directory = "/home/ann/''${a b}";
  check_golden(plan, "odd-names");
}

TEST_CASE("secrets are for the user alone, the rest is not") {
  for (const GeneratedFile& file : generated_files(usual_plan())) {
    CAPTURE(file.path.string());
    CHECK(file.mode == (file.path == "secrets.nix" ? mode_t{0600} : mode_t{0644}));
  }
}

TEST_CASE("the secrets' place is ignored before it is filled, and the flake comes last") {
  HomePlan plan = usual_plan();
  for (const bool multi_host : {false, true}) {
    plan.multi_host = multi_host;
    const auto files = generated_files(plan);
    CHECK(files.front().path == ".gitignore");
    CHECK(files.back().path == "flake.nix");
  }
}

TEST_CASE("the flake of several machines is the same for each") {
  HomePlan a = usual_plan();
  a.multi_host = true;
  HomePlan b = a;
  b.host = "desktop";
  b.user = "bob";
  b.system = "aarch64-linux";
  b.profile = "client";
  b.directory = "/home/bob/nix";
  CHECK(content_of(a, "flake.nix") == content_of(b, "flake.nix"));
  CHECK(content_of(a, ".gitignore") == content_of(b, ".gitignore"));
}

TEST_CASE("system-update is told of the flake, and that git ignores the secrets") {
  HomePlan plan = usual_plan();
  CHECK(content_of(plan, "secrets.nix").find("    home_flake = \"/home/ann/nix\";\n") !=
        std::string::npos);
  CHECK(content_of(plan, "secrets.nix").find("    impure = false;\n") != std::string::npos);
  plan.in_git = true;
  CHECK(content_of(plan, "secrets.nix").find("    impure = true;\n") != std::string::npos);
}

TEST_CASE("a placeholder in a name is no placeholder") {
  HomePlan plan = usual_plan();
  plan.user = "@HOME@";
  CHECK(content_of(plan, "home.nix").find("username = \"@HOME@\";") != std::string::npos);
}

TEST_CASE("a host whose name cannot name a directory is refused where it has to") {
  for (const char* host : {".", "..", "a/b"}) {
    HomePlan plan = usual_plan();
    plan.host = host;
    CHECK_NOTHROW(generated_files(plan));
    plan.multi_host = true;
    CHECK_THROWS_AS(generated_files(plan), UsageError);
  }
}
