#include "cli/bootstrap/generated_files.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/bootstrap/texts.hpp"
#include "common/base/error.hpp"
#include "common/nix/expression.hpp"

namespace nixbuild::cli {
namespace {

using nix::nix_string;

constexpr mode_t secret_mode = 0600;

// Replaces each placeholder `@NAME@` by its value, which is Nix code.
std::string filled(std::string_view text,
                   const std::vector<std::pair<std::string_view, std::string>>& values) {
  std::string out;
  while (!text.empty()) {
    const std::size_t at = text.find('@');
    out += text.substr(0, at);
    if (at == std::string_view::npos) break;
    text.remove_prefix(at);
    const auto value = std::find_if(values.begin(), values.end(), [&](const auto& candidate) {
      return text.substr(1).starts_with(candidate.first) &&
             text.substr(1 + candidate.first.size()).starts_with('@');
    });
    if (value == values.end()) {
      out += '@';
      text.remove_prefix(1);
    } else {
      out += value->second;
      text.remove_prefix(value->first.size() + 2);
    }
  }
  return out;
}

// The names that home-manager may look for on this machine: it uses `hostname` or `hostname -s`.
std::string user_names(const HomePlan& plan) {
  std::vector<std::string> names = {"default", plan.user, plan.user + "@" + plan.host};
  if (const std::size_t dot = plan.host.find('.'); dot != std::string::npos && dot != 0) {
    names.push_back(plan.user + "@" + plan.host.substr(0, dot));
  }
  std::string list;
  for (const std::string& name : names)
    list += fmt::format("        {}\n", nix_string(name));
  return list;
}

std::string inputs_of(const HomePlan& plan) {
  // The flake of several machines is the same whichever machine it is written on.
  const bool has_terminal = plan.multi_host || !plan.is_client();
  const std::string terminal =
      has_terminal
          ? filled(texts::terminal_input, {{"TERMINAL_URL", nix_string(plan.terminal_url)}})
          : "";
  return filled(texts::inputs,
                {{"BOOTSTRAP_URL", nix_string(plan.bootstrap_url)}, {"TERMINAL", terminal}});
}

std::string flake(const HomePlan& plan) {
  if (plan.multi_host) return filled(texts::flake_of_hosts, {{"INPUTS", inputs_of(plan)}});
  return filled(
      texts::flake,
      {{"INPUTS", inputs_of(plan)},
       {"SECRETS", nix_string((plan.directory / secrets_path(plan)).lexically_normal().string())},
       {"SYSTEM", nix_string(plan.system)},
       {"NAMES", user_names(plan)}});
}

std::string home(const HomePlan& plan) {
  return filled(plan.is_client() ? texts::home_of_client : texts::home,
                {{"PROFILE", plan.profile},
                 {"USER", nix_string(plan.user)},
                 {"HOME", nix_string(plan.home_directory)}});
}

std::string secrets(const HomePlan& plan) {
  const std::string cache_url =
      plan.cache_url.empty() ? "" : fmt::format("    cacheUrl = {};\n", nix_string(plan.cache_url));
  const std::string services =
      plan.is_client()
          ? ""
          : filled(texts::secrets_of_services, {{"AUTH_KEY_FILE", nix_string(plan.auth_key_file)}});
  return filled(texts::secrets, {{"ADDRESS", nix_string(plan.server)},
                                 {"CACHE_URL", cache_url},
                                 {"PUBLIC_KEY", nix_string(plan.public_key)},
                                 {"DIRECTORY", nix_string(plan.directory.string())},
                                 {"IN_GIT", plan.in_git ? "true" : "false"},
                                 {"SERVICES", services}});
}

std::string host(const HomePlan& plan) {
  return filled(
      texts::host,
      {{"SYSTEM", nix_string(plan.system)},
       {"USER", nix_string(plan.user)},
       {"SECRETS", nix_string((plan.directory / secrets_path(plan)).lexically_normal().string())}});
}

void check_file_name(const std::string& host) {
  if (host == "." || host == ".." || host.find('/') != std::string::npos || host.size() > 200) {
    throw UsageError(fmt::format(
        "--host: '{}' cannot be the name of a directory in hosts/; use another name", host));
  }
}

}  // namespace

std::filesystem::path secrets_path(const HomePlan& plan) {
  if (!plan.multi_host) return "secrets.nix";
  return std::filesystem::path("secrets") / (plan.host + ".nix");
}

std::string configuration_name(const HomePlan& plan) {
  // With several machines, "default" is whichever of them has its secrets here.
  return plan.multi_host ? plan.user + '@' + plan.host : "default";
}

std::vector<std::filesystem::path> managed_files(const HomePlan& plan) {
  std::vector<std::filesystem::path> files = {".config/nix/nix.conf",
                                              ".config/nixbuild/config.toml"};
  if (!plan.is_client()) {
    // By home-manager's modules for Atuin, bash, zsh, Neovim, direnv and tmux.
    for (const char* file :
         {".config/atuin/config.toml", ".bashrc", ".bash_profile", ".profile", ".zshrc", ".zshenv",
          ".config/nvim/init.lua", ".config/direnv/lib/hm-nix-direnv.sh", ".config/tmux/tmux.conf"})
      files.emplace_back(file);
  }
  return files;
}

std::string_view ignored_patterns(const HomePlan& plan) {
  return plan.multi_host ? texts::ignored_of_hosts : texts::ignored;
}

std::vector<GeneratedFile> generated_files(const HomePlan& plan) {
  std::vector<GeneratedFile> files;
  // In the order in which they are created: git ignores the secrets before they exist, and
  // flake.nix comes after everything that it needs.
  files.push_back({".gitignore", std::string(ignored_patterns(plan))});
  files.push_back({secrets_path(plan), secrets(plan), secret_mode});
  if (plan.multi_host) {
    check_file_name(plan.host);
    const std::filesystem::path directory = std::filesystem::path("hosts") / plan.host;
    files.push_back({directory / "home.nix", home(plan)});
    files.push_back({directory / "host.nix", host(plan)});
  } else {
    files.push_back({"home.nix", home(plan)});
  }
  files.push_back({"flake.nix", flake(plan)});
  return files;
}

std::string with_lines(std::string_view text, std::string_view lines) {
  std::string out(text);
  while (!lines.empty()) {
    const std::size_t end = lines.find('\n');
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(end == std::string_view::npos ? lines.size() : end + 1);
    const std::string here = fmt::format("\n{}\n", line);
    if (('\n' + out + '\n').find(here) != std::string::npos) continue;
    if (!out.empty() && !out.ends_with('\n')) out += '\n';
    out += fmt::format("{}\n", line);
  }
  return out;
}

}  // namespace nixbuild::cli
