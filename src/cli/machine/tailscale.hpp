// Tailscale on this machine, as its command tells it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "cli/machine/check.hpp"

namespace nixbuild::cli {

struct TailscaleNode {
  std::string host_name;  // "build-server"
  std::string dns_name;   // "build-server.tailnet.ts.net.", with its final dot
  std::vector<std::string> addresses;
  bool online = false;
};

struct Tailscale {
  // `absent`: no such command. `silent`: the command gets no answer from its daemon.
  enum class State : std::uint8_t { absent, silent, logged_out, stopped, running };

  State state = State::absent;
  std::string problem;               // what the command said, where it is `silent`
  std::vector<TailscaleNode> nodes;  // this machine and its peers

  // By name, MagicDNS name or address; nullptr where the tailnet has no such node.
  const TailscaleNode* find(std::string_view host) const;
};

// From `tailscale status --json`. Throws FormatError.
Tailscale parse_tailscale_status(std::string_view json);

// Runs the command.
Tailscale ask_tailscale();

// Where a machine's key for joining the tailnet is looked for: in the user's configuration, outside
// every flake, so that it never gets into the store.
std::filesystem::path default_auth_key_file(const std::filesystem::path& home);

// Whether it runs, is logged in and sees `host`. The remedy names `auth_key_file`.
Check check_tailscale(const Tailscale& tailscale, std::string_view host,
                      const std::filesystem::path& auth_key_file);

}  // namespace nixbuild::cli
