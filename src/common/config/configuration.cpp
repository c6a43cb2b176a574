#include "common/config/configuration.hpp"

#include <fmt/format.h>

#include "common/base/error.hpp"
#include "common/config/cache_settings.hpp"
#include "common/config/problems.hpp"

namespace nixbuild::config {
namespace {

void render_line(std::string& out, const Setting& setting, const std::string& value) {
  if (value.empty()) {
    out += fmt::format("# {} is not set\n", setting.key);
  } else {
    out += fmt::format("{} = {}  # {}\n", setting.key, value, setting.origin);
  }
}

void render_settings(std::string& out, const Settings& settings) {
  std::string table;
  for (const Setting& setting : settings.all()) {
    if (setting.table != table) {
      table = setting.table;
      out += fmt::format("\n[{}]\n", table);
    }
    render_line(out, setting, setting.show());
  }
}

void render_repository(std::string& out, const RepositoryList::Element& element) {
  const Repository& repository = element.repository;
  out += fmt::format("\n[[repository]]\nname = {}\n", toml_string(repository.name));
  for (const Setting& setting : element.settings.all()) {
    render_line(
        out, setting,
        setting.key == "url" ? toml_string(without_credentials(repository.url)) : setting.show());
  }
}

}  // namespace

Configuration::Configuration() {
  settings
      .add("state_dir", state_dir, "DIR",
           "Directory for keys, history and compressed NARs (default: $STATE_DIRECTORY, else "
           "/var/lib/nixbuild if a server is installed, else ~/.local/state/nixbuild)")
      .add("tailscale_interface", tailscale_interface, "NAME",
           "Network interface that tailscale:PORT listens on");
  add_client_settings(settings, client);
  add_alias_settings(settings, aliases);
  add_update_settings(settings, update);
  add_cache_settings(settings, cache);
  add_proxy_settings(settings, proxy);
  add_api_settings(settings, api);
  add_build_settings(settings, build);
  repositories.add_to(settings);
}

void Configuration::load(const std::optional<std::filesystem::path>& explicit_file,
                         const Environment& environment) {
  Problems problems;
  for (const ConfigFile& file : config_files(explicit_file, environment))
    problems.attempt([&] { load_file(settings, file); });
  problems.attempt([&] { load_environment(settings, environment); });
  problems.throw_if_any();
}

void Configuration::check() const {
  if (!cache.compression_level) return;
  try {
    check_level(cache.compression, *cache.compression_level);
  } catch (const UsageError& error) {
    throw UsageError(fmt::format("{}: {}", settings.find("cache", "compression_level")->told_by(),
                                 error.what()));
  }
}

std::string render(const Configuration& configuration) {
  std::string out;
  render_settings(out, configuration.settings);
  for (const auto& element : configuration.repositories.elements())
    render_repository(out, element);
  if (configuration.repositories.elements().empty()) {
    out += R"(
# No repository is configured. One looks like this:
# [[repository]]
# name = "nix-terminal"
# url = "https://github.com/Bullish-Design/nix-terminal"
# branch = "dev"
)";
  }
  return out;
}

}  // namespace nixbuild::config
