#include "server/builder/git_checkout.hpp"

#include <fmt/format.h>

#include <array>
#include <filesystem>

#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/config/service_settings.hpp"
#include "server/builder/git_progress.hpp"
#include "server/builder/remote_refs.hpp"

namespace nixbuild::builder {
namespace {

namespace fs = std::filesystem;

constexpr const char* fetched = "refs/nixbuild/head";
// A file with the remote's URL, next to git's own files, which git ignores.
constexpr const char* url_file = ".git/nixbuild-url";
constexpr std::size_t most_url_bytes = 65536;
constexpr mode_t private_file = 0600;

constexpr const char* everything = "refs/nixbuild/all";

bool is_commit(const std::string& ref) {
  return ref.size() == 40 && ref.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::string remote_ref(const config::Repository& repository) {
  if (repository.ref) {
    return is_commit(*repository.ref) ? *repository.ref : "refs/tags/" + *repository.ref;
  }
  return repository.branch ? "refs/heads/" + *repository.branch : "HEAD";
}

// git's message, without secrets.
std::string shown(std::string text, const config::Repository& repository) {
  const std::string safe = config::without_credentials(repository.url);
  if (safe == repository.url) return text;
  for (std::size_t at = text.find(repository.url); at != std::string::npos;
       at = text.find(repository.url, at + safe.size())) {
    text.replace(at, repository.url.size(), safe);
  }
  return text;
}

// git ends with "Could not read from remote repository" and advice; the reason comes before it.
std::string git_reason(const Exit& exit) {
  if (exit.signal != 0) return exit.reason();
  constexpr std::array<std::string_view, 3> says_nothing = {
      "fatal: Could not read from remote repository.",
      "Please make sure you have the correct access rights", "and the repository exists."};
  std::string output = exit.error;
  for (const std::string_view line : says_nothing) {
    const std::size_t at = output.find(line);
    if (at != std::string::npos) output.erase(at, line.size());
  }
  const std::string reason = reason_in(output);
  return reason.empty() ? reason_of(exit) : reason;
}

void run_git(Toolbox& tools, const std::string& what, std::vector<std::string> arguments) {
  const Exit exit = tools.run(tools.git(std::move(arguments)));
  if (!exit.ok()) throw Error(fmt::format("{}: {}", what, git_reason(exit)));
}

// Left by a killed git; no other process works in the clone while its lock is held.
void remove_stale_locks(const fs::path& clone) {
  std::error_code error;
  for (const char* name : {"index.lock", "HEAD.lock", "config.lock", "packed-refs.lock",
                           "shallow.lock", "refs/nixbuild/head.lock"}) {
    fs::remove(clone / ".git" / name, error);
  }
}

class BranchGone : public Error {
 public:
  using Error::Error;
};

RemoteRefs refs_of(Toolbox& tools, const config::Repository& repository) {
  const Exit exit = tools.run(tools.git(
      {"ls-remote", "--quiet", "--refs", "--heads", "--tags", "--end-of-options", repository.url}));
  if (!exit.ok()) {
    throw Error(fmt::format("listing the branches of {}: {}",
                            config::without_credentials(repository.url),
                            shown(git_reason(exit), repository)));
  }
  return parse_remote_refs(exit.output);
}

Exit fetch_refs(Toolbox& tools, Report& report, const config::Repository& repository,
                std::vector<std::string> refs) {
  // With --quiet, git would not report its progress. A remote may itself be a shallow clone.
  std::vector<std::string> arguments = {"fetch",
                                        "--progress",
                                        "--update-shallow",
                                        "--no-tags",
                                        "--force",
                                        "--no-auto-maintenance",
                                        "--recurse-submodules=no",
                                        "--no-write-fetch-head",
                                        "--end-of-options",
                                        repository.url};
  arguments.insert(arguments.end(), refs.begin(), refs.end());
  return run_with_progress(tools, report, tools.git(std::move(arguments)));
}

bool is_absent(const Exit& exit) {
  return !exit.ok() && git_reason(exit).find("couldn't find remote ref") != std::string::npos;
}

void fetch(Toolbox& tools, Report& report, const config::Repository& repository) {
  Exit exit = fetch_refs(tools, report, repository,
                         {fmt::format("+{}:{}", remote_ref(repository), fetched)});
  if (is_absent(exit)) {
    const RemoteRefs refs = refs_of(tools, repository);
    const auto branch =
        repository.branch || repository.ref ? std::nullopt : branch_without_head(refs);
    if (!branch) throw BranchGone(absence(repository, refs));
    report.warn(fmt::format(
        "the HEAD of {} names a branch that does not exist; building '{}' (set branch to choose)",
        config::without_credentials(repository.url), *branch));
    exit =
        fetch_refs(tools, report, repository, {fmt::format("+refs/heads/{}:{}", *branch, fetched)});
  }
  if (!exit.ok() && repository.ref && is_commit(*repository.ref)) {
    // Not every server allows fetching a commit by its id.
    exit = fetch_refs(tools, report, repository,
                      {fmt::format("+refs/heads/*:{}/heads/*", everything),
                       fmt::format("+refs/tags/*:{}/tags/*", everything)});
    if (exit.ok()) {
      run_git(tools, fmt::format("looking for commit {}", *repository.ref),
              {"update-ref", fetched, *repository.ref});
    }
  }
  if (exit.ok()) return;
  throw Error(fmt::format("fetching {}: {}", config::without_credentials(repository.url),
                          shown(git_reason(exit), repository)));
}

void update_tree(Toolbox& tools, Report& report, const config::Repository& repository) {
  run_git(tools, "checking out the newest commit", {"reset", "--quiet", "--hard", fetched});
  run_git(tools, "removing what is not part of the commit", {"clean", "-ffdxq"});
  // The base of relative URLs of submodules and LFS.
  run_git(tools, "naming the remote", {"config", "remote.origin.url", repository.url});
  if (!exists_beneath(tools.clone(), ".gitmodules")) return;
  run_git(tools, "updating submodules", {"submodule", "--quiet", "sync", "--recursive"});
  const Exit updated = run_with_progress(
      tools, report,
      tools.git({"submodule", "update", "--progress", "--init", "--recursive", "--force"}));
  if (!updated.ok()) throw Error(fmt::format("updating submodules: {}", git_reason(updated)));
}

void remake(Toolbox& tools, const config::Repository& repository) {
  // Keep the directory itself: it is a mount point if programs are isolated.
  for (const auto& entry : fs::directory_iterator(tools.clone()))
    fs::remove_all(entry.path());
  run_git(tools, "making a clone", {"init", "--quiet", "--template="});
  write_file_atomic(tools.clone() / url_file, repository.url, private_file);
}

bool remote_answers(Toolbox& tools, const config::Repository& repository) {
  return tools.run(tools.git({"ls-remote", "--quiet", "--end-of-options", repository.url, "HEAD"}))
      .ok();
}

// The branch to build if none is configured, as "refs/heads/NAME". The first line of git's answer
// is "ref: refs/heads/NAME<tab>HEAD", unless HEAD is detached or names no branch.
std::string default_branch(Toolbox& tools, const config::Repository& repository) {
  const Exit exit =
      tools.run(tools.git({"ls-remote", "--symref", "--end-of-options", repository.url, "HEAD"}));
  if (!exit.ok()) {
    throw Error(
        fmt::format("asking for the default branch: {}", shown(git_reason(exit), repository)));
  }
  constexpr std::string_view mark = "ref: ";
  const std::string_view output = exit.output;
  if (output.starts_with("ref: refs/heads/") && output.find('\t') != std::string_view::npos) {
    return std::string(output.substr(mark.size(), output.find('\t') - mark.size()));
  }
  const auto branch =
      output.empty() ? branch_without_head(refs_of(tools, repository)) : std::nullopt;
  if (!branch) {
    throw Error(fmt::format("the HEAD of {} is not a branch; set branch",
                            config::without_credentials(repository.url)));
  }
  return "refs/heads/" + *branch;
}

bool is_clone_of(const fs::path& clone, const std::string& url) {
  try {
    return read_file_beneath(clone, url_file, most_url_bytes) == url;
  } catch (const Error&) {
    return false;
  }
}

Checkout describe(Toolbox& tools) {
  const Exit exit = tools.run(tools.git({"log", "-1", "--no-show-signature", "--encoding=UTF-8",
                                         "--format=%H%n%s%n%an%n%ct", fetched}));
  if (!exit.ok()) throw Error(fmt::format("reading the newest commit: {}", git_reason(exit)));
  Checkout checkout;
  std::string_view rest = exit.output;
  for (std::string* field :
       {&checkout.commit, &checkout.subject, &checkout.author, &checkout.committed_at}) {
    *field = history::clean_line(rest.substr(0, rest.find('\n')));
    const std::size_t end = rest.find('\n');
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  if (exists_beneath(tools.clone(), ".git/shallow")) checkout.depth = Depth::shallow;
  return checkout;
}

}  // namespace

Checkout check_out(Toolbox& tools, Report& report, const config::Repository& repository) {
  const auto bring_up_to_date = [&] {
    fetch(tools, report, repository);
    update_tree(tools, report, repository);
  };
  const auto begin_anew = [&] {
    report.log(fmt::format("cloning {}", config::without_credentials(repository.url)));
    remake(tools, repository);
    bring_up_to_date();
  };
  if (is_clone_of(tools.clone(), repository.url)) {
    try {
      remove_stale_locks(tools.clone());
      bring_up_to_date();
    } catch (const Interrupted&) {
      throw;
    } catch (const BranchGone&) {
      throw;
    } catch (const Error& error) {
      // If the remote is unreachable, the clone is not the cause, and should not be lost.
      if (!remote_answers(tools, repository)) throw;
      report.warn(fmt::format("{}; trying with a new clone", error.what()));
      begin_anew();
    }
  } else {
    begin_anew();
  }
  return describe(tools);
}

std::string commit_lock(Toolbox& tools, const Checkout& checkout, CommitTime time) {
  run_git(tools, "adding flake.lock",
          {"add", "--force", "--", tools.in_dir("flake.lock").string()});
  Command command = tools.git({"-c", "commit.gpgSign=false", "commit", "--quiet", "--no-verify",
                               "--allow-empty", "--message", "flake.lock: Update"});
  for (const char* role : {"AUTHOR", "COMMITTER"}) {
    command.environment.emplace_back(fmt::format("GIT_{}_NAME", role), "nixbuild");
    command.environment.emplace_back(fmt::format("GIT_{}_EMAIL", role), "nixbuild@localhost");
    if (time == CommitTime::reproducible) {
      command.environment.emplace_back(fmt::format("GIT_{}_DATE", role),
                                       fmt::format("@{} +0000", checkout.committed_at));
    }
  }
  const Exit committed = tools.run(std::move(command));
  if (!committed.ok()) throw Error(fmt::format("committing flake.lock: {}", git_reason(committed)));
  const Exit parsed = tools.run(tools.git({"rev-parse", "--verify", "HEAD"}));
  if (!parsed.ok()) throw Error(fmt::format("committing flake.lock: {}", git_reason(parsed)));
  return history::clean_line(std::string_view(parsed.output).substr(0, parsed.output.find('\n')));
}

void push_commit(Toolbox& tools, const config::Repository& repository, const std::string& commit) {
  const std::string ref =
      repository.branch ? remote_ref(repository) : default_branch(tools, repository);
  const Exit exit = tools.run(tools.git(
      {"push", "--quiet", "--end-of-options", repository.url, fmt::format("{}:{}", commit, ref)}));
  if (!exit.ok()) throw Error(shown(git_reason(exit), repository));
}

}  // namespace nixbuild::builder
