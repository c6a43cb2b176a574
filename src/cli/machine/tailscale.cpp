#include "cli/machine/tailscale.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/machine/short_command.hpp"
#include "common/base/error.hpp"
#include "common/base/shell.hpp"
#include "common/base/terminal.hpp"

namespace nixbuild::cli {
namespace {

using Json = nlohmann::json;

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return out;
}

std::string without_final_dot(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  return lower(name);
}

std::string string_in(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

TailscaleNode node_of(const Json& object) {
  TailscaleNode node;
  node.host_name = string_in(object, "HostName");
  node.dns_name = string_in(object, "DNSName");
  node.online = object.value("Online", Json(false)) == Json(true);
  if (const auto found = object.find("TailscaleIPs"); found != object.end() && found->is_array()) {
    for (const Json& address : *found) {
      if (address.is_string()) node.addresses.push_back(address.get<std::string>());
    }
  }
  return node;
}

}  // namespace

const TailscaleNode* Tailscale::find(std::string_view host) const {
  const std::string wanted = without_final_dot(host);
  for (const TailscaleNode& node : nodes) {
    const std::string dns = without_final_dot(node.dns_name);
    // The first part of the MagicDNS name is the node's name, made valid and unique; HostName is
    // the node's own name for itself.
    const bool is_it =
        wanted == dns || wanted == dns.substr(0, dns.find('.')) ||
        wanted == lower(node.host_name) ||
        std::find(node.addresses.begin(), node.addresses.end(), wanted) != node.addresses.end();
    if (is_it && !wanted.empty()) return &node;
  }
  return nullptr;
}

Tailscale parse_tailscale_status(std::string_view json) {
  const Json status = Json::parse(json, nullptr, false);
  if (!status.is_object()) {
    throw FormatError("`tailscale status --json` printed no JSON object");
  }
  Tailscale tailscale;
  const std::string state = string_in(status, "BackendState");
  if (state == "Running" || state == "Starting") {
    tailscale.state = Tailscale::State::running;
  } else if (state == "NeedsLogin" || state == "NeedsMachineAuth") {
    tailscale.state = Tailscale::State::logged_out;
  } else {
    tailscale.state = Tailscale::State::stopped;
  }
  if (const auto self = status.find("Self"); self != status.end() && self->is_object()) {
    tailscale.nodes.push_back(node_of(*self));
  }
  if (const auto peers = status.find("Peer"); peers != status.end() && peers->is_object()) {
    for (const Json& peer : *peers) {
      if (peer.is_object()) tailscale.nodes.push_back(node_of(peer));
    }
  }
  return tailscale;
}

Tailscale ask_tailscale() {
  const auto exit =
      run_briefly({.arguments = {"tailscale", "status", "--json"}, .environment = {}});
  if (!exit) return {};
  try {
    // When logged out it exits 1, but still prints the status.
    return parse_tailscale_status(exit->output);
  } catch (const FormatError& error) {
    Tailscale tailscale;
    tailscale.state = Tailscale::State::silent;
    const std::string_view said =
        exit->error.empty() ? error.what() : std::string_view(exit->error);
    tailscale.problem = terminal::printable(said.substr(0, said.find('\n')));
    return tailscale;
  }
}

std::filesystem::path default_auth_key_file(const std::filesystem::path& home) {
  return home / ".config/nixbuild/tailscale-auth-key";
}

Check check_tailscale(const Tailscale& tailscale, std::string_view host,
                      const std::filesystem::path& auth_key_file) {
  Check check{"Tailscale", CheckState::warning, {}, {}};
  switch (tailscale.state) {
    case Tailscale::State::absent:
      check.message = "no tailscale command in PATH";
      check.remedy =
          "install Tailscale: https://tailscale.com/download; on NixOS, "
          "services.tailscale.enable = true";
      return check;
    case Tailscale::State::silent:
      check.message = fmt::format("tailscaled does not respond ({})", tailscale.problem);
      check.remedy = "sudo systemctl start tailscaled";
      return check;
    case Tailscale::State::logged_out:
      check.message = "this machine is not logged in";
      // Without a key, `tailscale up` shows where to log in.
      check.remedy = "sudo tailscale up";
      if (std::error_code error; std::filesystem::exists(auth_key_file, error)) {
        check.remedy = shell_command(
            {"sudo", "tailscale", "up", "--auth-key", "file:" + auth_key_file.string()});
      }
      return check;
    case Tailscale::State::stopped:
      check.message = "it is stopped";
      check.remedy = "sudo tailscale up";
      return check;
    case Tailscale::State::running:
      break;
  }
  const TailscaleNode* node = tailscale.find(host);
  if (node == nullptr) {
    check.message = fmt::format("running, but '{}' is not in the tailnet", host);
    check.remedy =
        "check the name (tailscale status) and that the server is in the same tailnet; another "
        "server is named by --server";
  } else if (!node->online) {
    check.message = fmt::format("running, but '{}' is offline", host);
    check.remedy = "wake the server up, or run `sudo tailscale up` on it";
  } else {
    check.state = CheckState::ok;
    check.message = fmt::format("running, and '{}' is in the tailnet", host);
  }
  return check;
}

}  // namespace nixbuild::cli
