#include "server/history/state_layout.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>

#include "common/base/error.hpp"

namespace nixbuild::history {
namespace {

constexpr mode_t shared_mode = 02770;

// If this process creates the directory, the group can write to it whatever the umask.
void make_directory(const std::filesystem::path& path) {
  if (::mkdir(path.c_str(), 0770) == 0) {
    // In a directory that passes on its group, the mode is right from the start. This has to be
    // enough in a service with RestrictSUIDSGID=, where chmod with that bit is forbidden.
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0 && (status.st_mode & 07777) == shared_mode) return;
    if (::chmod(path.c_str(), shared_mode) != 0) {
      throw SystemError(errno, fmt::format("setting the mode of {}", path.string()));
    }
    return;
  }
  if (errno == ENOENT) {
    std::error_code error;
    std::filesystem::create_directories(path.parent_path(), error);
    if (!error && ::mkdir(path.c_str(), 0770) == 0) return;
  }
  if (errno != EEXIST) throw SystemError(errno, fmt::format("making {}", path.string()));
}

}  // namespace

std::filesystem::path StateLayout::status(std::string_view repository) const {
  return root_ / "status" / fmt::format("{}.json", repository);
}

std::filesystem::path StateLayout::logs(std::string_view repository) const {
  return all_logs() / repository;
}

std::filesystem::path StateLayout::log(std::string_view repository, std::int64_t build) const {
  return logs(repository) / fmt::format("{}.log", build);
}

std::filesystem::path StateLayout::repository(std::string_view repository) const {
  return root_ / "repos" / repository;
}

std::filesystem::path StateLayout::home(std::string_view repository) const {
  return root_ / "home" / repository;
}

std::filesystem::path StateLayout::fetching_home(std::string_view repository) const {
  return root_ / "home" / ".fetching" / repository;
}

std::filesystem::path StateLayout::gc_roots(std::string_view repository) const {
  return root_ / "gcroots" / repository;
}

std::filesystem::path StateLayout::gc_roots(std::string_view repository, std::int64_t build) const {
  return gc_roots(repository) / fmt::format("{}", build);
}

std::filesystem::path StateLayout::lock(std::string_view repository) const {
  return root_ / "locks" / fmt::format("{}.lock", repository);
}

std::filesystem::path StateLayout::slot(int number) const {
  // Cannot clash with a repository's lock: repository names have no upper-case letters.
  return root_ / "locks" / fmt::format("SLOT-{}", number);
}

std::filesystem::path StateLayout::processes(std::string_view repository) const {
  return root_ / "locks" / fmt::format("{}.processes", repository);
}

std::filesystem::path StateLayout::runner_output(std::string_view repository) const {
  return root_ / "locks" / fmt::format("{}.output", repository);
}

std::filesystem::path StateLayout::reserve(std::string_view repository) const {
  return root_ / "locks" / fmt::format("{}.reserve", repository);
}

void StateLayout::create() const {
  make_directory(root_);
  for (const char* name : {"status", "logs", "repos", "gcroots", "locks"}) {
    make_directory(root_ / name);
  }
}

}  // namespace nixbuild::history
