#include "cli/bootstrap/placement.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <optional>

#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/base/time.hpp"

namespace nixbuild::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view staging_prefix = ".nixbuild-bootstrap-";
constexpr mode_t others = 0077;

// A temporary directory on the same file system, removed with its content.
class Staging {
 public:
  explicit Staging(const fs::path& directory) {
    std::string name = (directory / (std::string(staging_prefix) + "XXXXXX")).string();
    if (::mkdtemp(name.data()) == nullptr) {
      throw SystemError(errno, fmt::format("creating a directory in {}", directory.string()));
    }
    path_ = name;
  }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  ~Staging() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }

  fs::path file(std::size_t index) const { return path_ / std::to_string(index); }

 private:
  fs::path path_;
};

void remove_leftovers(const fs::path& directory) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    if (entry.path().filename().string().starts_with(staging_prefix)) {
      std::error_code ignored;
      fs::remove_all(entry.path(), ignored);
    }
  }
}

void make_directories(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw SystemError(error.value(), fmt::format("creating {}", path.string()));
}

// Gives the file a second name, which it keeps when it is replaced.
fs::path back_up(const fs::path& path) {
  std::string time = format_time(now());
  std::erase(time, ':');
  for (unsigned attempt = 1;; ++attempt) {
    fs::path backup = path;
    backup += fmt::format(".backup-{}{}", time, attempt == 1 ? "" : fmt::format("-{}", attempt));
    if (::link(path.c_str(), backup.c_str()) == 0) return backup;
    if (errno != EEXIST) throw SystemError(errno, fmt::format("creating {}", backup.string()));
  }
}

void move_into_place(const fs::path& from, const fs::path& to, bool replace) {
  if (!replace) {
    // Unlike rename(2), link(2) fails if the file has been created meanwhile.
    if (::link(from.c_str(), to.c_str()) == 0) return;
    const bool has_no_links = errno == EPERM || errno == EOPNOTSUPP;  // FAT, some network drives
    if (!has_no_links) throw SystemError(errno, fmt::format("creating {}", to.string()));
  }
  if (::rename(from.c_str(), to.c_str()) != 0) {
    throw SystemError(errno, fmt::format("creating {}", to.string()));
  }
}

}  // namespace

std::vector<PlannedFile> plan_placement(const fs::path& directory,
                                        const std::vector<GeneratedFile>& files) {
  std::vector<PlannedFile> planned;
  for (const GeneratedFile& file : files) {
    PlannedFile& plan = planned.emplace_back(PlannedFile{file, Placement::create});
    const std::optional<std::string> there = read_file(directory / file.path);
    if (!there) continue;
    const bool has_lines = file.path.filename() == ".gitignore";
    if (has_lines) plan.file.content = with_lines(*there, file.content);
    if (plan.file.content == *there) {
      plan.placement = Placement::keep;
    } else {
      plan.placement = has_lines ? Placement::extend : Placement::conflict;
    }
  }
  return planned;
}

TargetDirectory::TargetDirectory(fs::path path) : path_(std::move(path)) {
  make_directories(path_);
  lock_.reset(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock_) throw SystemError(errno, fmt::format("opening {}", path_.string()));
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      throw Error(
          fmt::format("another bootstrap is running in {}; wait for it to end", path_.string()));
    }
    throw SystemError(errno, fmt::format("locking {}", path_.string()));
  }
  remove_leftovers(path_);
}

std::vector<fs::path> TargetDirectory::place(const std::vector<PlannedFile>& files) const {
  const Staging staging(path_);
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (files[i].placement == Placement::keep) continue;
    write_file_atomic(staging.file(i), files[i].file.content, files[i].file.mode);
  }
  std::vector<fs::path> backups;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const fs::path to = path_ / files[i].file.path;
    const mode_t mode = files[i].file.mode;
    if (files[i].placement == Placement::keep) {
      if ((mode & others) == 0 && ::chmod(to.c_str(), mode) != 0) {
        throw SystemError(errno, fmt::format("setting the mode of {}", to.string()));
      }
      continue;
    }
    make_directories(to.parent_path());
    if (files[i].placement == Placement::conflict) backups.push_back(back_up(to));
    move_into_place(staging.file(i), to, files[i].placement != Placement::create);
    sync_directory(to.parent_path());
  }
  return backups;
}

}  // namespace nixbuild::cli
