#include "common/config/update_options.hpp"

#include <fmt/format.h>

#include "common/base/error.hpp"
#include "common/config/setting.hpp"

namespace nixbuild::config {

void add_update_settings(Settings& settings, UpdateOptions& options) {
  settings.table("update")
      .add("flake", options.flake, "DIR",
           "Flake that configures this machine; DIR#NAME selects a configuration (default: the "
           "current directory's, else /etc/nixos and the home's)")
      .add("home_flake", options.home_flake, "DIR",
           "Flake that configures this user's home (default: ~/.config/home-manager)")
      .add("impure", options.impure, "Let the flake read files outside of it, such as secrets")
      .add("repository", options.repository, "REPO",
           "Repository of the server that --built follows, and no other")
      .add("branch", options.branch, "BRANCH",
           "Branch that --built follows (default: the repository's default branch)")
      .add("target", options.target, "TARGET",
           "Target that --built follows, such as nixosConfigurations.laptop or "
           "homeConfigurations.ann")
      .add("keep_generations", options.keep_generations, 1, 1000,
           "Keep this many of the newest generations, however old they are")
      .add_duration("keep", options.keep, "Delete generations older than this")
      .checked([](const std::string& text) {
        constexpr std::chrono::seconds day = std::chrono::days{1};
        const std::chrono::seconds keep = parse_duration(text);
        if (keep < day || keep % day != std::chrono::seconds{0}) {
          throw UsageError(fmt::format("'{}': whole days were expected, such as 30d", text));
        }
      });
}

}  // namespace nixbuild::config
