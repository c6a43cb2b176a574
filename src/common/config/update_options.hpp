// The options of `system-update`.
#pragma once

#include <chrono>
#include <string>

namespace nixbuild::config {

class Settings;

struct UpdateOptions {
  std::string flake;       // DIR or DIR#NAME; empty: search for it
  std::string home_flake;  // DIR; empty: ~/.config/home-manager
  bool impure = false;
  std::string repository;  // that --built follows, as the server names it
  std::string branch;      // empty: the remote's HEAD
  std::string target;      // "nixosConfigurations.laptop"
  std::chrono::seconds keep = std::chrono::days{30};  // whole days
  int keep_generations = 5;
};

// Adds the table [update], bound to `options`.
void add_update_settings(Settings& settings, UpdateOptions& options);

}  // namespace nixbuild::config
