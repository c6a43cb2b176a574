#include "cli/update/lock_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/base/subprocess.hpp"
#include "common/nix/hash.hpp"

namespace nixbuild::cli {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;

struct Journal {
  std::optional<std::string> before;
  std::string after;
  bool added_to_git = false;  // by place()
};

std::optional<Journal> read_journal(const fs::path& file) {
  const auto text = read_file(file);
  if (!text) return std::nullopt;
  const Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object() || !json.contains("before") || !json.contains("after") ||
      !json["after"].is_string()) {
    return std::nullopt;
  }
  Journal journal{std::nullopt, json["after"].get<std::string>(),
                  json.value("added_to_git", Json()) == Json(true)};
  if (json["before"].is_string()) journal.before = json["before"].get<std::string>();
  return journal;
}

std::string format_journal(const fs::path& flake, const Journal& journal) {
  Json json = {{"flake", flake.string()},
               {"before", nullptr},
               {"after", journal.after},
               {"added_to_git", journal.added_to_git}};
  if (journal.before) json["before"] = *journal.before;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
}

mode_t mode_of(const fs::path& file) {
  struct stat status = {};
  return ::stat(file.c_str(), &status) == 0 ? status.st_mode & 07777 : 0644;
}

}  // namespace

LockFile::LockFile(fs::path flake, const fs::path& state_dir) : flake_(std::move(flake)) {
  const fs::path directory = state_dir / "system-update";
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) throw SystemError(error.value(), fmt::format("making {}", directory.string()));
  const std::string name = nix::sha256(flake_.string()).base32().substr(0, 32);
  journal_ = directory / (name + ".json");
  const fs::path lock = directory / (name + ".lock");
  held_.reset(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!held_) throw SystemError(errno, fmt::format("opening {}", lock.string()));
  if (::flock(held_.get(), LOCK_EX | LOCK_NB) == 0) return;
  if (errno != EWOULDBLOCK) throw SystemError(errno, fmt::format("locking {}", lock.string()));
  throw Error(fmt::format("another system-update of {} is running", flake_.string()));
}

LockFile::Recovery LockFile::recover() {
  const auto journal = read_journal(journal_);
  if (!journal) {
    forget();  // a journal that cannot be read was incomplete, so nothing was placed yet
    return Recovery::none;
  }
  const auto now = read_file(file());
  Recovery result = Recovery::none;
  if (now == journal->after) {
    put_back(journal->before, journal->added_to_git);
    result = Recovery::restored;
  } else if (now != journal->before) {
    result = Recovery::changed_since;
  }
  forget();
  return result;
}

void LockFile::place(const std::optional<std::string>& before, const std::string& after) {
  // In a git repository, Nix sees only files that git tracks.
  const bool is_unknown = !before && !git({"ls-files", "--error-unmatch", "flake.lock"});
  write_file_atomic(journal_, format_journal(flake_, {before, after, is_unknown}), 0600);
  write_file_atomic(file(), after, mode_of(file()));
  if (is_unknown) git({"add", "--force", "--intent-to-add", "flake.lock"});
}

void LockFile::restore() {
  const auto journal = read_journal(journal_);
  if (!journal) return;
  put_back(journal->before, journal->added_to_git);
  forget();
}

void LockFile::keep() {
  forget();
}

void LockFile::put_back(const std::optional<std::string>& before, bool added_to_git) {
  if (before) {
    write_file_atomic(file(), *before, mode_of(file()));
    return;
  }
  if (::unlink(file().c_str()) != 0 && errno != ENOENT) {
    throw SystemError(errno, fmt::format("removing {}", file().string()));
  }
  // A file that git tracked before stays tracked, even if it had been deleted.
  if (added_to_git) git({"rm", "--cached", "--quiet", "--ignore-unmatch", "flake.lock"});
}

void LockFile::forget() {
  if (::unlink(journal_.c_str()) != 0 && errno != ENOENT) {
    throw SystemError(errno, fmt::format("removing {}", journal_.string()));
  }
}

bool LockFile::git(std::vector<std::string> arguments) const {
  Command command;
  command.arguments = {"git", "-C", flake_.string()};
  command.arguments.insert(command.arguments.end(), arguments.begin(), arguments.end());
  try {
    return run(std::move(command)).ok();
  } catch (const SystemError&) {
    return false;  // without git, treat the flake as outside of any repository
  }
}

}  // namespace nixbuild::cli
