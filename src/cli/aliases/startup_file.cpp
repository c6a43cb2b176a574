#include "cli/aliases/startup_file.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <system_error>
#include <vector>

#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/config/load.hpp"

namespace nixbuild::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view begin_mark = "# >>> nixbuild aliases >>>";
constexpr std::string_view end_mark = "# <<< nixbuild aliases <<<";

// The position of the first line equal to `wanted`, at or after `from`.
std::size_t find_line(std::string_view content, std::string_view wanted, std::size_t from = 0) {
  for (std::size_t at = from; at < content.size();) {
    const std::size_t end = std::min(content.find('\n', at), content.size());
    if (content.substr(at, end - at) == wanted) return at;
    at = end + 1;
  }
  return std::string_view::npos;
}

// The target of a chain of links, even if it does not exist.
fs::path behind_links(fs::path path) {
  constexpr int most_links = 40;  // Linux's own limit
  std::error_code error;
  for (int i = 0; i < most_links && fs::is_symlink(path, error); ++i) {
    const fs::path next = fs::read_symlink(path, error);
    if (error) throw SystemError(error.value(), fmt::format("following {}", path.string()));
    path = path.parent_path() / next;  // an absolute target replaces the whole path
  }
  return path;
}

}  // namespace

std::string with_alias_block(std::string_view content, std::string_view lines) {
  std::string block;
  if (!lines.empty()) block = fmt::format("{}\n{}{}\n", begin_mark, lines, end_mark);

  const std::size_t begin = find_line(content, begin_mark);
  const std::size_t end = find_line(content, end_mark, begin == std::string_view::npos ? 0 : begin);
  if ((begin == std::string_view::npos) != (end == std::string_view::npos)) {
    throw Error(
        fmt::format("only one of the lines '{}' and '{}' is there; remove it, or mend the "
                    "part between them",
                    begin_mark, end_mark));
  }
  if (begin != std::string_view::npos) {
    const std::size_t after = std::min(end + end_mark.size() + 1, content.size());
    return fmt::format("{}{}{}", content.substr(0, begin), block, content.substr(after));
  }
  std::string out(content);
  if (!block.empty() && !out.empty() && out.back() != '\n') out += '\n';
  return out + block;
}

fs::path startup_file(Shell shell) {
  const auto variable = [](const char* name) { return config::process_environment(name); };
  const auto below_home = [&](std::string_view path) {
    const auto home = variable("HOME");
    if (!home) throw UsageError("HOME is not set, so the shell's startup file cannot be found");
    return fs::path(*home) / path;
  };
  if (shell == Shell::bash) return below_home(".bashrc");
  if (shell == Shell::zsh) {
    const auto directory = variable("ZDOTDIR");
    return directory ? fs::path(*directory) / ".zshrc" : below_home(".zshrc");
  }
  const auto configuration = variable("XDG_CONFIG_HOME");
  return (configuration ? fs::path(*configuration) : below_home(".config")) /
         "fish/conf.d/nixbuild-aliases.fish";
}

Change install_lines(std::string_view lines, const fs::path& file) {
  const fs::path target = behind_links(file);
  if (target.string().starts_with("/nix/store/")) {
    throw Error(
        fmt::format("{} is made by Nix, from a home-manager or NixOS configuration; set "
                    "programs.bootstrap.aliases or programs.bootstrap.atuin.enable there",
                    file.string()));
  }
  const std::optional<std::string> content = read_file(target);
  std::string wanted;
  try {
    wanted = with_alias_block(content.value_or(""), lines);
  } catch (const Error& problem) {
    throw Error(fmt::format("{}: {}", file.string(), problem.what()));
  }
  if (wanted == content.value_or("")) return Change::none;
  struct stat status = {};
  const bool is_there = ::stat(target.c_str(), &status) == 0;
  if (!is_there) {
    std::error_code error;
    fs::create_directories(target.parent_path(), error);
    if (error)
      throw SystemError(error.value(), fmt::format("making {}", target.parent_path().string()));
  }
  write_file_atomic(target, wanted, is_there ? status.st_mode & 07777 : 0644);
  return Change::written;
}

bool loads_synced_aliases(Shell shell) {
  const fs::path file = startup_file(shell);
  std::vector<fs::path> files = {file};
  if (shell == Shell::bash) {
    for (const char* name : {".bash_profile", ".profile"})
      files.push_back(file.parent_path() / name);
    files.insert(files.end(), {"/etc/bashrc", "/etc/bash.bashrc"});
  } else if (shell == Shell::zsh) {
    files.push_back(file.parent_path() / ".zshenv");
    files.insert(files.end(), {"/etc/zshrc", "/etc/zsh/zshrc"});
  } else {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(file.parent_path(), error))
      files.push_back(entry.path());
    files.push_back(file.parent_path().parent_path() / "config.fish");
    files.push_back("/etc/fish/config.fish");
  }
  return std::any_of(files.begin(), files.end(), [](const fs::path& path) {
    try {
      const auto content = read_file(path);
      return content && content->find("--from-atuin") != std::string::npos;
    } catch (const Error&) {
      return false;  // the shell cannot read it either
    }
  });
}

}  // namespace nixbuild::cli
