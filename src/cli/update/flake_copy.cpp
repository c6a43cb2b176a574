#include "cli/update/flake_copy.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/nix/error_reason.hpp"

namespace nixbuild::cli {
namespace fs = std::filesystem;
namespace {

// The URLs of a flake's inputs, if they have any.
constexpr const char* inputs_expression =
    R"({ flake }: builtins.mapAttrs (_: input: input.url or "path:${toString (input.path or "")}")
      ((import flake).inputs or { }))";

// The path of an input beside flake.nix; nothing if `url` is something else.
std::optional<fs::path> relative_path(std::string_view url) {
  constexpr std::string_view scheme = "path:";
  if (url.starts_with(scheme)) {
    url.remove_prefix(scheme.size());
  } else if (!url.starts_with("./")) {
    return std::nullopt;
  }
  const fs::path path = fs::path(url.substr(0, url.find_first_of("?#"))).lexically_normal();
  if (path.empty() || path.is_absolute() || *path.begin() == ".." || path == ".") {
    return std::nullopt;
  }
  return path;
}

// Does nothing if the file does not exist.
void copy_one(const fs::path& from, const fs::path& to, fs::copy_options options) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(from, error))) return;
  fs::create_directories(to.parent_path(), error);
  if (!error) fs::copy(from, to, options, error);
  if (error) {
    throw SystemError(error.value(), fmt::format("copying {} to {}", from.string(), to.string()));
  }
}

}  // namespace

FlakeCopy::TemporaryDirectory::TemporaryDirectory() {
  std::error_code error;
  const fs::path parent = fs::temp_directory_path(error);
  if (error) throw SystemError(error.value(), "looking for a directory for temporary files");
  std::string name = (parent / "nixbuild-update-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    throw SystemError(errno, fmt::format("making a directory in {}", parent.string()));
  }
  // Nix does not accept a path that contains a link as a flake.
  path_ = fs::canonical(name);
}

FlakeCopy::TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

FlakeCopy::FlakeCopy(const Runner& runner, const fs::path& flake) : runner_(runner) {
  const auto expression = read_file(flake / "flake.nix");
  if (!expression) throw Error(fmt::format("there is no flake.nix in {}", flake.string()));
  write_file_atomic(path() / "flake.nix", *expression, 0644);
  before_ = read_file(flake / "flake.lock");
  if (before_) write(*before_);
  copy_relative_inputs(flake);
}

std::string FlakeCopy::read() const {
  const auto text = read_file(path() / "flake.lock");
  if (!text) throw Error("the flake has no inputs: there is nothing to update");
  return *text;
}

void FlakeCopy::write(const std::string& text) const {
  write_file_atomic(path() / "flake.lock", text, 0644);
}

nix::FlakeLock FlakeCopy::parse() const {
  return nix::FlakeLock::parse(read());
}

void FlakeCopy::complete() const {
  const Exit exit = runner_.nix({"flake", "lock"}, path());
  if (!exit.ok()) {
    throw Error(fmt::format("the flake's inputs cannot be locked: {}", nix::reason_of(exit)));
  }
}

bool FlakeCopy::has_lock() const {
  return fs::exists(path() / "flake.lock");
}

void FlakeCopy::copy_relative_inputs(const fs::path& flake) const {
  Command command;
  command.arguments = {"nix-instantiate",
                       "--eval",
                       "--strict",
                       "--json",
                       "--argstr",
                       "flake",
                       (path() / "flake.nix").string(),
                       "--expr",
                       inputs_expression};
  const Exit exit = runner_.quiet(std::move(command));
  if (!exit.ok()) return;  // Nix itself will report the error
  const auto urls = nlohmann::json::parse(exit.output, nullptr, false);
  for (const auto& url : urls) {
    if (!url.is_string()) continue;
    if (const auto below = relative_path(url.get<std::string>())) copy_below(flake, *below);
  }
}

void FlakeCopy::copy_below(const fs::path& flake, const fs::path& below) const {
  if (const auto files = tracked_files(flake, below)) {
    for (const fs::path& file : *files)
      copy_one(flake / file, path() / file, fs::copy_options::copy_symlinks);
  } else {
    copy_one(flake / below, path() / below,
             fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  }
}

std::optional<std::vector<fs::path>> FlakeCopy::tracked_files(const fs::path& flake,
                                                              const fs::path& below) const {
  Command command;
  command.arguments = {"git", "-C", flake.string(), "ls-files", "-z", "--", below.string()};
  std::vector<fs::path> files;
  try {
    const Exit exit = runner_.quiet(std::move(command));
    if (!exit.ok()) return std::nullopt;
    for (std::string_view rest = exit.output; !rest.empty();) {
      const std::string_view name = rest.substr(0, rest.find('\0'));
      files.emplace_back(name);
      rest.remove_prefix(std::min(rest.size(), name.size() + 1));
    }
  } catch (const SystemError&) {
    return std::nullopt;  // git is not installed
  }
  return files;
}

}  // namespace nixbuild::cli
