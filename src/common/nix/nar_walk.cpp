#include "common/nix/nar_walk.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

#include "common/base/error.hpp"
#include "common/base/unique_fd.hpp"
#include "common/nix/nar.hpp"

namespace nixbuild::nix {

namespace {

enum class Kind : std::uint8_t { unknown, regular, symlink, directory, other };

Kind kind_of_mode(mode_t mode) {
  if (S_ISREG(mode)) return Kind::regular;
  if (S_ISLNK(mode)) return Kind::symlink;
  if (S_ISDIR(mode)) return Kind::directory;
  return Kind::other;
}

Kind kind_of_entry(const dirent& entry) {
  switch (entry.d_type) {
    case DT_REG:
      return Kind::regular;
    case DT_LNK:
      return Kind::symlink;
    case DT_DIR:
      return Kind::directory;
    case DT_UNKNOWN:
      return Kind::unknown;
    default:
      return Kind::other;
  }
}

// The open directories are in a vector, not on the call stack: a deep tree must not overflow the
// small stack of some thread.
class Walker {
 public:
  Walker(std::string root, TreeVisitor& visitor) : path_(std::move(root)), visitor_(visitor) {}

  void walk() {
    visit(AT_FDCWD, 0, Kind::unknown);
    while (!levels_.empty()) {
      Level& level = levels_.back();
      if (level.next == entries_.size()) {
        close_directory();
        continue;
      }
      const Entry entry = entries_[level.next++];
      const std::size_t depth = levels_.size();
      path_ += '/';
      path_ += name_of(entry);
      visitor_.begin_entry(name_of(entry));
      visit(level.fd.get(), level.path_size + 1, entry.kind);
      if (levels_.size() == depth) close_entry();
    }
  }

 private:
  struct Entry {
    std::size_t name_at;  // in names_
    std::size_t name_size;
    Kind kind;
  };

  // A directory whose entries are being visited. Those of all levels are stored one after another
  // in entries_ and names_, which avoids an allocation for each.
  struct Level {
    UniqueFd fd;
    std::size_t first_entry;
    std::size_t first_name;
    std::size_t next;  // in entries_
    std::size_t path_size;
  };

  // Visits the object at path_, which is `path_.substr(name_at)` in the directory `dir_fd`. A
  // directory is only opened here and becomes a level.
  void visit(int dir_fd, std::size_t name_at, Kind kind) {
    const char* const name = path_.c_str() + name_at;
    if (kind == Kind::unknown) {
      struct stat status {};
      if (::fstatat(dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0) fail("cannot examine");
      kind = kind_of_mode(status.st_mode);
    }
    switch (kind) {
      case Kind::regular:
        visitor_.regular(dir_fd, name, path_);
        return;
      case Kind::symlink:
        symlink(dir_fd, name);
        return;
      case Kind::directory:
        open_directory(dir_fd, name);
        return;
      default:
        throw Error(fmt::format(
            "'{}' is neither a file, a directory nor a symlink: a NAR cannot hold it", path_));
    }
  }

  [[noreturn]] void fail(std::string_view what) const {
    const int error_number = errno;
    throw SystemError(error_number, fmt::format("{} '{}'", what, path_));
  }

  void symlink(int dir_fd, const char* name) {
    std::array<char, nar_target_limit + 1> target;
    const ssize_t size = ::readlinkat(dir_fd, name, target.data(), target.size());
    if (size < 0) fail("cannot read the symlink");
    if (static_cast<std::size_t>(size) > nar_target_limit)
      throw Error(fmt::format("the target of the symlink '{}' is longer than {} bytes", path_,
                              nar_target_limit));
    visitor_.symlink(std::string_view(target.data(), static_cast<std::size_t>(size)));
  }

  void open_directory(int dir_fd, const char* name) {
    if (levels_.size() == nar_depth_limit)
      throw Error(fmt::format("'{}' lies more than {} directories deep: a NAR cannot hold it",
                              path_, nar_depth_limit));
    UniqueFd fd(::openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) fail("cannot open the directory");
    const std::size_t first_entry = entries_.size();
    const std::size_t first_name = names_.size();
    read_entries(fd.get());
    std::sort(entries_.begin() + static_cast<std::ptrdiff_t>(first_entry), entries_.end(),
              [this](const Entry& a, const Entry& b) { return name_of(a) < name_of(b); });
    visitor_.begin_directory();
    levels_.push_back({std::move(fd), first_entry, first_name, first_entry, path_.size()});
  }

  void close_directory() {
    visitor_.end_directory();
    entries_.resize(levels_.back().first_entry);
    names_.resize(levels_.back().first_name);
    levels_.pop_back();
    if (!levels_.empty()) close_entry();
  }

  void close_entry() {
    visitor_.end_entry();
    path_.resize(levels_.back().path_size);
  }

  void read_entries(int fd) {
    // A temporary stream, closed at once: each open stream holds a large buffer.
    UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!copy) fail("cannot read the directory");
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(copy.get()), &::closedir);
    if (!stream) fail("cannot read the directory");
    copy.release();
    while (true) {
      errno = 0;
      const dirent* const entry = ::readdir(stream.get());
      if (!entry) {
        if (errno != 0) fail("cannot read the directory");
        return;
      }
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      entries_.push_back({names_.size(), name.size(), kind_of_entry(*entry)});
      names_ += name;
    }
  }

  std::string_view name_of(const Entry& entry) const {
    return std::string_view(names_).substr(entry.name_at, entry.name_size);
  }

  std::string path_;
  TreeVisitor& visitor_;
  std::vector<Level> levels_;
  std::vector<Entry> entries_;
  std::string names_;
};

}  // namespace

void walk_tree(const std::filesystem::path& root, TreeVisitor& visitor) {
  std::string path = root.native();
  // With a trailing slash a symlink would be followed.
  while (path.size() > 1 && path.ends_with('/'))
    path.pop_back();
  Walker(std::move(path), visitor).walk();
}

}  // namespace nixbuild::nix
