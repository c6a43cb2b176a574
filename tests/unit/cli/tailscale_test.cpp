#include "cli/machine/tailscale.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "common/base/error.hpp"

using namespace nixbuild;
using namespace nixbuild::cli;

namespace {

const char* running = R"({
  "BackendState": "Running",
  "Self": {"HostName": "laptop", "DNSName": "laptop.tail1.ts.net.", "TailscaleIPs": ["100.64.0.2"],
           "Online": true},
  "Peer": {
    "nodekey:1": {"HostName": "Build-Server", "DNSName": "build-server-2.tail1.ts.net.",
                  "TailscaleIPs": ["100.64.0.1", "fd7a:115c:a1e0::1"], "Online": true},
    "nodekey:2": {"HostName": "asleep", "DNSName": "asleep.tail1.ts.net.", "Online": false},
    "nodekey:3": 7
  }
})";

Check check_of(const char* json, const char* host) {
  return check_tailscale(parse_tailscale_status(json), host, "/home/ann/key");
}

}  // namespace

TEST_CASE("nodes are found by each of their names and addresses") {
  const Tailscale tailscale = parse_tailscale_status(running);
  CHECK(tailscale.state == Tailscale::State::running);
  for (const char* host :
       {"build-server", "BUILD-SERVER", "build-server-2", "build-server-2.tail1.ts.net",
        "build-server-2.tail1.ts.net.", "100.64.0.1", "fd7a:115c:a1e0::1"}) {
    CAPTURE(host);
    REQUIRE(tailscale.find(host) != nullptr);
    CHECK(tailscale.find(host)->host_name == "Build-Server");
  }
  CHECK(tailscale.find("laptop") != nullptr);
  for (const char* host : {"", "build", "tail1", "100.64.0.9"}) {
    CAPTURE(host);
    CHECK(tailscale.find(host) == nullptr);
  }
}

TEST_CASE("each state has its own remedy") {
  CHECK(check_of(running, "build-server").state == CheckState::ok);
  CHECK(check_of(running, "build-server").remedy.empty());
  CHECK(check_of(running, "asleep").message == "running, but 'asleep' is offline");
  CHECK(check_of(running, "elsewhere").message == "running, but 'elsewhere' is not in the tailnet");
  CHECK(check_of(R"({"BackendState": "NeedsLogin"})", "x").remedy == "sudo tailscale up");
  CHECK(check_of(R"({"BackendState": "Stopped"})", "x").remedy == "sudo tailscale up");
  CHECK(check_tailscale({}, "x", "/key").message == "no tailscale command in PATH");
}

TEST_CASE("an auth key is named where there is one, quoted for the shell") {
  const Tailscale out = parse_tailscale_status(R"({"BackendState": "NeedsLogin"})");
  std::string name = (std::filesystem::temp_directory_path() / "nixbuild a key XXXXXX").string();
  const int file = ::mkstemp(name.data());
  REQUIRE(file >= 0);
  ::close(file);
  CHECK(check_tailscale(out, "x", name).remedy ==
        "sudo tailscale up --auth-key 'file:" + name + "'");
  std::filesystem::remove(name);
  CHECK(check_tailscale(out, "x", name).remedy == "sudo tailscale up");
}

TEST_CASE("what is no status is refused") {
  CHECK_THROWS_AS(parse_tailscale_status(""), FormatError);
  CHECK_THROWS_AS(parse_tailscale_status("failed to connect"), FormatError);
  CHECK_THROWS_AS(parse_tailscale_status("[1]"), FormatError);
  CHECK(parse_tailscale_status("{}").state == Tailscale::State::stopped);
}
