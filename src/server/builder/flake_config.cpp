#include "server/builder/flake_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "common/base/error.hpp"
#include "common/base/terminal.hpp"
#include "common/nix/expression.hpp"

namespace nixbuild::builder {
namespace {

using Json = nlohmann::json;

constexpr std::size_t longest_value = 65536;  // bytes; the value is passed as an argument
constexpr std::size_t longest_shown = 100;

// Names from the Nix manual, "nix.conf".
constexpr std::array<std::string_view, 18> options = {
    "allow-import-from-derivation",
    "connect-timeout",
    "cores",
    "download-attempts",
    "extra-experimental-features",
    "extra-substituters",
    "fallback",
    "http-connections",
    "keep-going",
    "log-lines",
    "max-jobs",
    "max-silent-time",
    "max-substitution-jobs",
    "narinfo-cache-negative-ttl",
    "narinfo-cache-positive-ttl",
    "stalled-download-timeout",
    "substituters",
    "timeout",
};

std::string text_of(const Json& value) {
  if (!value.is_array()) return value.is_string() ? value.get<std::string>() : value.dump();
  std::string text;
  for (const Json& element : value) {
    if (!text.empty()) text += ' ';
    text += element.is_string() ? element.get<std::string>() : element.dump();
  }
  return text;
}

}  // namespace

bool is_flake_option(std::string_view name) {
  return std::find(options.begin(), options.end(), name) != options.end();
}

Toolbox::Options read_flake_config(Toolbox& tools, Report& report, const std::string& commit) {
  const std::string expression =
      fmt::format("(import (builtins.fetchGit {{ url = {}; rev = {}; }} + {})).nixConfig or {{ }}",
                  nix::nix_string("file://" + tools.clone().string()), nix::nix_string(commit),
                  nix::nix_string("/" + tools.in_dir("flake.nix").string()));
  const Exit exit =
      tools.run(tools.nix({"nix-instantiate", "--eval", "--strict", "--json", "--read-write-mode",
                           "--option", "pure-eval", "true", "--expr", expression}));
  const Json json = Json::parse(exit.output, nullptr, false);
  if (!exit.ok() || !json.is_object()) {
    throw Error(fmt::format("reading the flake's nixConfig: {}", reason_of(exit)));
  }
  Toolbox::Options accepted;
  for (const auto& [name, value] : json.items()) {
    const std::string text = text_of(value);
    if (!is_flake_option(name) || text.size() > longest_value) {
      report.warn(fmt::format("nixConfig.{} of the flake is ignored",
                              terminal::printable(name, longest_shown)));
    } else {
      accepted.emplace_back(name, text);
    }
  }
  return accepted;
}

}  // namespace nixbuild::builder
