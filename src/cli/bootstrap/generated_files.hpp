// The files of a fresh machine's home configuration, as text.
//
// Names of users and hosts, paths and URLs can contain any character, so they only appear in quoted
// and escaped string literals, never in comments.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace nixbuild::cli {

// What the files are generated from.
struct HomePlan {
  std::string profile = "laptop";  // laptop, desktop, server or client
  std::string host;
  std::string user;
  std::string home_directory;
  std::string system;  // "x86_64-linux"

  std::string server;      // HOST, HOST:PORT or a URL
  std::string cache_url;   // empty: port 5000 of that host
  std::string public_key;  // NAME:BASE64
  std::string auth_key_file;

  std::string bootstrap_url;  // flake references
  std::string terminal_url;

  std::filesystem::path directory;  // absolute
  bool in_git = false;              // it is in a git repository
  bool multi_host = false;

  // The cache and the commands alone: no Atuin, Syncthing, Tailscale or terminal.
  bool is_client() const { return profile == "client"; }
  // Nix asks a proxy on this machine: the profile sets cacheProxy (nix/templates).
  bool has_proxy() const {
    return (profile == "laptop" || profile == "desktop") && system.ends_with("-linux");
  }
};

struct GeneratedFile {
  std::filesystem::path path;  // relative to the plan's directory
  std::string content;
  mode_t mode = 0644;
};

// Throws UsageError if the host's name has to be a file's name and cannot be one.
std::vector<GeneratedFile> generated_files(const HomePlan& plan);

// The file with the machine's own values, relative to the plan's directory.
std::filesystem::path secrets_path(const HomePlan& plan);

// The name of the plan's home configuration in the flake: `home-manager switch --flake .#NAME`.
std::string configuration_name(const HomePlan& plan);

// The files in the home directory that the configuration replaces by links, relative to it.
std::vector<std::filesystem::path> managed_files(const HomePlan& plan);

// Patterns for git to ignore, one on each line.
std::string_view ignored_patterns(const HomePlan& plan);
// The text of a .gitignore, with those of `lines` appended that it lacks.
std::string with_lines(std::string_view text, std::string_view lines);

}  // namespace nixbuild::cli
