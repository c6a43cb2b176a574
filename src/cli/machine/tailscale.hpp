// Tailscale on this machine, queried by its command.
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
  std::string dns_name;   // "build-server.tailnet.ts.net.", with the trailing dot
  std::vector<std::string> addresses;
  bool online = false;
};

struct Tailscale {
  // `absent`: no such command. `silent`: its daemon does not answer.
  enum class State : std::uint8_t { absent, silent, logged_out, stopped, running };

  State state = State::absent;
  std::string problem;               // the command's error, if `silent`
  std::vector<TailscaleNode> nodes;  // this machine and its peers

  // By name, MagicDNS name or address; nullptr if the tailnet has no such node.
  const TailscaleNode* find(std::string_view host) const;
};

// From `tailscale status --json`. Throws FormatError.
Tailscale parse_tailscale_status(std::string_view json);

// Runs the command.
Tailscale ask_tailscale();

// The file for a machine's Tailscale auth key: in the user's configuration, outside of every flake,
// so that it never gets into the store.
std::filesystem::path default_auth_key_file(const std::filesystem::path& home);

// Checks that it runs, is logged in and sees `host`. The remedy names `auth_key_file`.
Check check_tailscale(const Tailscale& tailscale, std::string_view host,
                      const std::filesystem::path& auth_key_file);

}  // namespace nixbuild::cli
