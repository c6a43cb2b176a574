#include "server/builder/flake_inputs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/base/percent.hpp"
#include "common/base/terminal.hpp"
#include "common/nix/expression.hpp"
#include "common/nix/flake_lock.hpp"

namespace nixbuild::builder {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_lock_bytes = std::size_t{16} << 20;

// The names of the flake's direct inputs in its lock; none if the lock is malformed.
std::vector<std::string> locked_inputs(const std::optional<std::string>& lock) {
  try {
    return lock ? nix::FlakeLock::parse(*lock).inputs() : std::vector<std::string>();
  } catch (const FormatError&) {
    return {};
  }
}

std::vector<std::string> update_arguments(bool by_name, const std::string& input) {
  if (by_name) return {"nix", "flake", "update", input};
  return {"nix", "flake", "lock", "--update-input", input};
}

std::string text_at(const nlohmann::json& reference, const char* key) {
  const auto found = reference.find(key);
  return found != reference.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// The local file or directory that a flake reference's attributes refer to; empty if it is
// something else, such as a directory of the flake itself. A relative path is resolved against
// `directory` of `clone`, if these are known.
fs::path local_path_of(const nlohmann::json& reference, const fs::path& clone,
                       const fs::path& directory) {
  if (!reference.is_object()) return {};
  std::string text = text_at(reference, "url");
  const bool is_url = !text.empty();
  if (!is_url && text_at(reference, "type") == "path") text = text_at(reference, "path");
  for (const std::string_view prefix : {"git+", "hg+", "tarball+", "file+"}) {
    if (text.starts_with(prefix)) text.erase(0, prefix.size());
  }
  bool is_path = !is_url || text.starts_with('.');
  std::string scheme = text.substr(0, text.find(':'));
  for (char& c : scheme)
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (is_url && (scheme == "file" || scheme == "path")) {
    text.erase(0, scheme.size() + 1);
    is_path = true;
    // curl takes file://localhost/x and file://127.0.0.1/x for /x.
    if (scheme == "file" && text.starts_with("//")) {
      text.erase(0, std::min(text.find('/', 2), text.size()));
    }
  }
  if (is_url) {
    text.resize(std::min(text.find_first_of("?#"), text.size()));
    // Nix refuses a malformed escape itself.
    if (std::string decoded; percent_decode(text, false, decoded)) text = std::move(decoded);
  }
  if (text.starts_with('/')) return fs::path(text).lexically_normal();
  if (!is_path || clone.empty()) return {};
  // A symbolic link may lead out of the clone.
  std::error_code error;
  fs::path path = fs::weakly_canonical(directory / text, error);
  if (error) path = (directory / text).lexically_normal();
  return is_at_or_below(path, fs::weakly_canonical(clone, error)) ? fs::path() : path;
}

void check_path(const std::string& input, const fs::path& path,
                const std::vector<fs::path>& allowed) {
  if (path.empty()) return;
  const bool is_allowed =
      std::any_of(allowed.begin(), allowed.end(), [&](const fs::path& directory) {
        return is_at_or_below(path, directory.lexically_normal());
      });
  if (is_allowed) return;
  throw Error(fmt::format(
      "input '{}' is {}, a file of this server; if builds may read it, add its directory to "
      "local_inputs of the repository",
      terminal::printable(input), terminal::printable(path.string())));
}

}  // namespace

std::optional<std::string> read_lock(const Toolbox& tools) {
  return read_file_beneath(tools.clone(), tools.in_dir("flake.lock"), most_lock_bytes);
}

void update_inputs(Toolbox& tools, Report& report) {
  const Exit all = tools.run_logged(tools.nix_fetching({"nix", "flake", "update"}));
  if (all.ok()) return;

  const auto names = locked_inputs(read_lock(tools));
  if (names.empty()) {
    throw Error(fmt::format("the inputs cannot be locked: {}", reason_of(all)));
  }
  report.warn("not all inputs can be updated; trying one by one");
  const Exit version = tools.run(tools.nix({"nix", "--version"}));
  const bool by_name = nix::updates_by_name(version.output);
  for (const std::string& name : names) {
    // git allows a name that begins with a dash; Nix would mistake it for an option.
    const Exit one = name.starts_with('-')
                         ? Exit{1, 0, "", "its name begins with '-'", false}
                         : tools.run_logged(tools.nix_fetching(update_arguments(by_name, name)));
    if (!one.ok()) {
      report.warn(fmt::format("input '{}' stays as it is locked: {}", name, reason_of(one)));
    }
  }
}

void check_named_inputs(Toolbox& tools, const std::vector<fs::path>& allowed) {
  constexpr std::string_view expression =
      "let part = input: if !builtins.isAttrs input then {{ }} else {{ "
      "url = input.url or \"\"; type = input.type or \"\"; path = toString (input.path or \"\"); "
      "inputs = builtins.mapAttrs (name: part) (input.inputs or {{ }}); }}; "
      "in builtins.mapAttrs (name: part) ((import {}).inputs or {{ }})";
  const fs::path directory = (tools.clone() / tools.in_dir("flake.nix")).parent_path();
  const std::string file = nix::nix_string((directory / "flake.nix").string());
  const Exit exit = tools.run(tools.nix({"nix-instantiate", "--eval", "--strict", "--json",
                                         "--expr", fmt::format(expression, file)}));
  if (!exit.ok()) throw Error(fmt::format("the inputs cannot be read: {}", reason_of(exit)));
  const auto inputs = nlohmann::json::parse(exit.output, nullptr, false);
  if (!inputs.is_object()) throw Error("the inputs cannot be read: their names are not UTF-8");
  std::vector<const nlohmann::json*> waiting = {&inputs};
  while (!waiting.empty()) {
    const nlohmann::json& level = *waiting.back();
    waiting.pop_back();
    for (const auto& [name, input] : level.items()) {
      // What an input's own relative inputs refer to is unknown until they are locked.
      const bool is_own = &level == &inputs;
      check_path(name,
                 local_path_of(input, is_own ? tools.clone() : fs::path(),
                               is_own ? directory : fs::path()),
                 allowed);
      if (const auto below = input.find("inputs"); below != input.end() && below->is_object())
        waiting.push_back(&*below);
    }
  }
}

void check_locked_inputs(const std::string& lock, const std::vector<fs::path>& allowed) {
  const auto json = nlohmann::json::parse(lock, nullptr, false);
  const auto nodes = json.is_object() ? json.find("nodes") : json.end();
  if (!json.is_object() || nodes == json.end() || !nodes->is_object()) return;
  for (const auto& [name, node] : nodes->items()) {
    for (const char* key : {"original", "locked"}) {
      if (node.is_object() && node.contains(key))
        check_path(name, local_path_of(node.at(key), {}, {}), allowed);
    }
  }
}

void fetch_inputs(Toolbox& tools, const std::string& reference) {
  const Exit exit = tools.run_logged(tools.nix_fetching({"nix", "flake", "archive", reference}));
  if (!exit.ok()) throw Error(fmt::format("fetching the inputs: {}", reason_of(exit)));
}

}  // namespace nixbuild::builder
