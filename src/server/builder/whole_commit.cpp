#include "server/builder/whole_commit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/error.hpp"
#include "common/base/files.hpp"

namespace nixbuild::builder {
namespace {

namespace fs = std::filesystem;

constexpr const char* index_file = ".git/nixbuild-index";
constexpr const char* kept_ref = "refs/nixbuild/whole";
constexpr std::string_view submodule_mode = "160000";
constexpr std::string_view link_mode = "120000";
constexpr std::string_view pointer_start = "version https://git-lfs.github.com/spec/";
constexpr std::size_t most_pointer_bytes = 1024;
constexpr std::size_t most_paths_at_once = 200;
// The maximum nesting depth of submodules.
constexpr int most_levels = 32;
constexpr mode_t private_file = 0600;

struct Entry {
  std::string mode;
  std::string id;
  std::string path;
};

class WholeCommit {
 public:
  WholeCommit(Toolbox& tools, const std::string& commit) : tools_(tools), commit_(commit) {}

  std::string make(const std::string& committed_at) {
    std::error_code error;
    fs::remove(tools_.clone() / index_file, error);
    git("reading the commit", {"read-tree", commit_});
    add_submodules();
    add_large_files();
    const std::string tree = line(git("writing the tree", {"write-tree"}));
    fs::remove(tools_.clone() / index_file, error);
    if (tree == line(git("reading the commit", {"rev-parse", commit_ + "^{tree}"}))) return commit_;
    Command command = command_for({"commit-tree", "-p", commit_, "-m", "nixbuild: whole", tree});
    for (const char* role : {"AUTHOR", "COMMITTER"}) {
      command.environment.emplace_back(fmt::format("GIT_{}_NAME", role), "nixbuild");
      command.environment.emplace_back(fmt::format("GIT_{}_EMAIL", role), "nixbuild@localhost");
      command.environment.emplace_back(fmt::format("GIT_{}_DATE", role),
                                       fmt::format("@{} +0000", committed_at));
    }
    std::string whole = line(run("writing the commit", std::move(command)));
    git("keeping the commit", {"update-ref", kept_ref, whole});
    return whole;
  }

 private:
  Command command_for(std::vector<std::string> arguments) const {
    Command command = tools_.git(std::move(arguments));
    command.environment.emplace_back("GIT_INDEX_FILE", (tools_.clone() / index_file).string());
    return command;
  }

  std::string run(const char* what, Command command) {
    const Exit exit = tools_.run(std::move(command));
    if (!exit.ok()) throw Error(fmt::format("{}: {}", what, reason_of(exit)));
    if (exit.output_cut) throw Error(fmt::format("{}: too many files", what));
    return exit.output;
  }

  std::string git(const char* what, std::vector<std::string> arguments) {
    return run(what, command_for(std::move(arguments)));
  }

  static std::string line(const std::string& output) { return output.substr(0, output.find('\n')); }

  // "MODE ID STAGE<tab>PATH<nul>", the format of git-ls-files(1).
  std::vector<Entry> entries(const std::string& which) {
    std::vector<std::string> arguments = {"ls-files", "--stage", "-z"};
    if (!which.empty()) arguments.insert(arguments.end(), {"--", which});
    const std::string output = git("listing files", std::move(arguments));
    std::vector<Entry> found;
    std::string_view rest = output;
    while (!rest.empty()) {
      const std::string_view one = rest.substr(0, rest.find('\0'));
      rest.remove_prefix(std::min(one.size() + 1, rest.size()));
      const std::size_t space = one.find(' ');
      const std::size_t second = one.find(' ', space + 1);
      const std::size_t tab = one.find('\t');
      if (space == std::string_view::npos || second == std::string_view::npos ||
          tab == std::string_view::npos) {
        continue;
      }
      found.push_back({std::string(one.substr(0, space)),
                       std::string(one.substr(space + 1, second - space - 1)),
                       std::string(one.substr(tab + 1))});
    }
    return found;
  }

  // Lets git find the objects of submodules, which are in separate repositories.
  void share_objects() {
    std::string text;
    std::error_code error;
    const fs::path modules = tools_.clone() / ".git/modules";
    for (auto entry = fs::recursive_directory_iterator(modules, error);
         !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
      if (!entry->is_directory(error) || entry->is_symlink(error) ||
          entry->path().filename() != "objects" ||
          !fs::exists(entry->path().parent_path() / "HEAD", error)) {
        continue;
      }
      entry.disable_recursion_pending();
      const std::string path = entry->path().string();
      if (path.find('\n') == std::string::npos) text += path + "\n";
    }
    if (!text.empty()) {
      write_file_atomic(tools_.clone() / ".git/objects/info/alternates", text, private_file);
    }
  }

  void add_submodules() {
    if (!exists_beneath(tools_.clone(), ".gitmodules")) return;
    share_objects();
    for (int level = 0; level < most_levels; ++level) {
      bool any = false;
      for (const Entry& entry : entries("")) {
        if (entry.mode != submodule_mode) continue;
        // One missing from .gitmodules is not a submodule, and git leaves its directory empty.
        if (!tools_.run(command_for({"cat-file", "-e", entry.id + "^{tree}"})).ok()) continue;
        git("adding a submodule", {"update-index", "--force-remove", "--", entry.path});
        git("adding a submodule", {"read-tree", fmt::format("--prefix={}/", entry.path), entry.id});
        any = true;
      }
      if (!any) return;
    }
    throw Error("submodules are nested too deeply");
  }

  void add_large_files() {
    auto files = entries(":(attr:filter=lfs)");
    // git would follow a symbolic link, for instance to a device that never ends.
    std::erase_if(files, [](const Entry& entry) { return entry.mode == link_mode; });
    if (files.empty()) return;
    if (!tools_.run(tools_.git({"lfs", "version"})).ok()) {
      throw Error(
          fmt::format("{} is in Git LFS, and git-lfs is not installed; install the package git-lfs",
                      files.front().path));
    }
    pull();
    for (std::size_t begin = 0; begin < files.size(); begin += most_paths_at_once) {
      const std::size_t end = std::min(files.size(), begin + most_paths_at_once);
      replace({files.begin() + static_cast<std::ptrdiff_t>(begin),
               files.begin() + static_cast<std::ptrdiff_t>(end)});
    }
  }

  void pull() {
    const std::vector<std::string> settings = {"-c", "filter.lfs.clean=git-lfs clean -- %f",
                                               "-c", "filter.lfs.smudge=git-lfs smudge -- %f",
                                               "-c", "filter.lfs.process=git-lfs filter-process"};
    const auto lfs = [&](std::vector<std::string> arguments) {
      arguments.insert(arguments.begin(), settings.begin(), settings.end());
      const Exit exit = tools_.run_logged(tools_.git(std::move(arguments)));
      if (!exit.ok()) throw Error(fmt::format("fetching files from Git LFS: {}", reason_of(exit)));
    };
    lfs({"lfs", "pull"});
    if (exists_beneath(tools_.clone(), ".gitmodules")) {
      lfs({"submodule", "--quiet", "foreach", "--recursive", "git lfs pull"});
    }
  }

  void replace(const std::vector<Entry>& files) {
    std::vector<std::string> arguments = {"hash-object", "-w", "--no-filters", "--"};
    for (const Entry& file : files)
      arguments.push_back(file.path);
    const std::string output = git("adding files of Git LFS", std::move(arguments));
    std::vector<std::string> changes = {"update-index"};
    std::string_view rest = output;
    for (const Entry& file : files) {
      const std::string id(rest.substr(0, rest.find('\n')));
      rest.remove_prefix(std::min(id.size() + 1, rest.size()));
      if (id == file.id) {
        check_no_pointer(file.path);
        continue;
      }
      changes.insert(changes.end(),
                     {"--cacheinfo", fmt::format("{},{},{}", file.mode, id, file.path)});
    }
    if (changes.size() > 1) git("adding files of Git LFS", std::move(changes));
  }

  // A file that is not a pointer, although its attributes say so, is used as it is.
  void check_no_pointer(const std::string& path) const {
    std::optional<std::string> text;
    try {
      text = read_file_beneath(tools_.clone(), path, most_pointer_bytes);
    } catch (const Error&) {
      return;  // longer than a pointer
    }
    if (text && text->starts_with(pointer_start)) {
      throw Error(fmt::format("git-lfs did not fetch {}", path));
    }
  }

  Toolbox& tools_;
  const std::string& commit_;
};

}  // namespace

std::string whole_commit(Toolbox& tools, const std::string& commit,
                         const std::string& committed_at) {
  return WholeCommit(tools, commit).make(committed_at);
}

}  // namespace nixbuild::builder
