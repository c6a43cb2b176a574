#include "server/store/nar_source.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <deque>
#include <string>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/unique_fd.hpp"
#include "common/nix/nar.hpp"
#include "server/store/directory_names.hpp"

namespace nixbuild::store {

namespace {

// A piece ends once it reaches this size; a file below the limit below may still be added to it.
constexpr std::size_t piece_size = std::size_t{128} << 10;
// Files up to this size are copied into the piece: sending them by sendfile(2) would cost two more
// system calls each.
constexpr std::uint64_t small_file_limit = std::uint64_t{64} << 10;
// How many directories of the current path are kept open; those above are reopened through "..".
constexpr std::size_t open_levels = 64;
// Skipping costs a system call per entry, and may cover a whole tree, so limit it per call.
constexpr unsigned skipped_at_once = 256;

// A file that a NAR cannot contain: a pipe, or an unreadable file.
class NotInNars : public Error {
 public:
  using Error::Error;
};

unsigned char type_of(mode_t mode) {
  return static_cast<unsigned char>((mode & S_IFMT) >> 12);  // DT_* is S_IF* without its low bits
}

}  // namespace

struct NarSource::State {
  // A directory between the root and the current position.
  struct Level {
    UniqueFd fd;
    dev_t device = 0;  // set once fd was closed
    ino_t inode = 0;
    DirectoryNames names;
    std::size_t next = 0;
  };

  explicit State(std::filesystem::path path) : root(std::move(path)) {}

  const std::filesystem::path root;
  std::uint64_t skip = 0;  // bytes still to be skipped
  bool started = false;
  bool finished = false;
  std::string buffer;
  std::deque<Level> levels;  // the first `depth` are in use, the others keep their memory
  std::size_t depth = 0;

  UniqueFd file;  // the large file of the last piece
  std::uint64_t file_size = 0;
  std::uint64_t file_offset = 0;

  void step();
  void node(int directory, const char* name, unsigned char type);
  void regular_file(int directory, const char* name);
  void small_file(int fd, std::uint64_t size, const char* name);
  void close_large_file();
  void symlink(int directory, const char* name);
  void enter_directory(int directory, const char* name);
  void leave_directory();
  void end_node();
  void apply_skip();

  std::string here(const char* name) const;
  [[noreturn]] void fail(int error_number, const char* what, const char* name) const;
  [[noreturn]] void fail_opening(const char* name) const;
  [[noreturn]] void fail_changed(const char* name) const;
};

// The full path of `name`, an entry of the current directory.
std::string NarSource::State::here(const char* name) const {
  std::filesystem::path path = root;
  for (std::size_t i = 0; i + 1 < depth; ++i)
    path /= levels[i].names.name(levels[i].next - 1);
  if (depth > 0) path /= name;
  return path.native();
}

void NarSource::State::fail(int error_number, const char* what, const char* name) const {
  throw SystemError(error_number, fmt::format("{} '{}'", what, here(name)));
}

// The directory of `name` could be searched, so the file itself cannot be read.
void NarSource::State::fail_opening(const char* name) const {
  const int error_number = errno;
  if (error_number == EACCES || error_number == EPERM) {
    throw NotInNars(fmt::format("'{}' cannot be read: no permission", here(name)));
  }
  fail(error_number, "opening", name);
}

void NarSource::State::fail_changed(const char* name) const {
  throw Error(fmt::format("'{}' has changed while it was read", here(name)));
}

void NarSource::State::step() {
  if (!started) {
    started = true;
    nix::nar_framing::magic(buffer);
    node(AT_FDCWD, root.c_str(), DT_UNKNOWN);
    return;
  }
  Level& level = levels[depth - 1];
  if (level.next == level.names.size()) {
    leave_directory();
    return;
  }
  const std::size_t position = level.next++;
  nix::nar_framing::begin_entry(buffer, level.names.name(position));
  node(level.fd.get(), level.names.c_name(position), level.names.type(position));
}

void NarSource::State::node(int directory, const char* name, unsigned char type) {
  if (type == DT_UNKNOWN) {
    struct stat status {};
    if (::fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
      fail(errno, "examining", name);
    }
    type = type_of(status.st_mode);
  }
  switch (type) {
    case DT_REG:
      regular_file(directory, name);
      break;
    case DT_LNK:
      symlink(directory, name);
      break;
    case DT_DIR:
      enter_directory(directory, name);
      break;
    default:
      throw NotInNars(fmt::format(
          "'{}' is not a regular file, symlink or directory; a NAR cannot hold it", here(name)));
  }
}

void NarSource::State::regular_file(int directory, const char* name) {
  struct stat status {};
  UniqueFd fd;
  // Skipped files need not be opened.
  if (skip > 0) {
    if (::fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
      fail(errno, "examining", name);
    }
  } else {
    // O_NONBLOCK: if a pipe has replaced the file, opening it must not block.
    fd.reset(::openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!fd) fail_opening(name);
    if (::fstat(fd.get(), &status) != 0) fail(errno, "examining", name);
  }
  if (!S_ISREG(status.st_mode)) fail_changed(name);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  nix::nar_framing::begin_file(buffer, (status.st_mode & S_IXUSR) != 0, size);
  if (!fd) {
    apply_skip();
    if (skip >= size) {
      skip -= size;
      nix::nar_framing::end_file(buffer, size);
      end_node();
      return;
    }
    fd.reset(::openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!fd) fail_opening(name);
  }
  if (size > small_file_limit) {
    file = std::move(fd);
    file_size = size;
    file_offset = skip;
    skip = 0;
    return;
  }
  small_file(fd.get(), size, name);
  nix::nar_framing::end_file(buffer, size);
  end_node();
}

void NarSource::State::small_file(int fd, std::uint64_t size, const char* name) {
  if (size == 0) return;
  const std::size_t begin = buffer.size();
  // Ask for one byte more than expected, to detect whether the file has grown: a read that does not
  // return this byte was at the end.
  buffer.resize(begin + size + 1);
  std::size_t count = 0;
  while (count < size) {
    const ssize_t got = ::read(fd, buffer.data() + begin + count, size + 1 - count);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(errno, "reading", name);
    if (got == 0) break;
    count += static_cast<std::size_t>(got);
  }
  if (count != size) fail_changed(name);
  buffer.resize(begin + size);
}

void NarSource::State::close_large_file() {
  const char* const name =
      depth == 0 ? "" : levels[depth - 1].names.c_name(levels[depth - 1].next - 1);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail(errno, "examining", name);
  if (static_cast<std::uint64_t>(status.st_size) != file_size) fail_changed(name);
  file.reset();
  nix::nar_framing::end_file(buffer, file_size);
  end_node();
}

void NarSource::State::symlink(int directory, const char* name) {
  char target[PATH_MAX];
  const ssize_t length = ::readlinkat(directory, name, target, sizeof(target));
  if (length < 0) fail(errno, "reading the symlink", name);
  nix::nar_framing::symlink(buffer, {target, static_cast<std::size_t>(length)});
  end_node();
}

void NarSource::State::enter_directory(int directory, const char* name) {
  UniqueFd fd(::openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) fail_opening(name);
  if (depth >= open_levels) {
    Level& far = levels[depth - open_levels];
    if (far.fd) {
      struct stat status {};
      if (::fstat(far.fd.get(), &status) != 0) fail(errno, "examining a directory above", name);
      far.device = status.st_dev;
      far.inode = status.st_ino;
      far.fd.reset();
    }
  }
  nix::nar_framing::begin_directory(buffer);
  if (depth == levels.size()) levels.emplace_back();
  Level& level = levels[depth];
  level.fd = std::move(fd);
  level.next = 0;
  if (const int error_number = level.names.read(level.fd.get())) {
    fail(error_number, "reading the directory", name);
  }
  ++depth;
}

void NarSource::State::leave_directory() {
  Level& level = levels[depth - 1];
  if (depth >= 2 && !levels[depth - 2].fd) {
    Level& parent = levels[depth - 2];
    UniqueFd fd(::openat(level.fd.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct stat status {};
    if (!fd || ::fstat(fd.get(), &status) != 0) fail(errno, "opening the parent of", ".");
    if (status.st_dev != parent.device || status.st_ino != parent.inode) {
      throw Error(fmt::format("'{}' was moved while it was read", here(".")));
    }
    parent.fd = std::move(fd);
  }
  level.fd.reset();
  --depth;
  nix::nar_framing::end_directory(buffer);
  end_node();
}

// Writes what follows a node: the end of its entry, or of the whole NAR.
void NarSource::State::end_node() {
  if (depth > 0) {
    nix::nar_framing::end_entry(buffer);
  } else {
    finished = true;
  }
}

void NarSource::State::apply_skip() {
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(skip, buffer.size()));
  buffer.erase(0, count);
  skip -= count;
}

bool blames_path(const std::exception& error) noexcept {
  if (const auto* system = dynamic_cast<const SystemError*>(&error)) {
    return system->error_number() == ENOENT || system->error_number() == ENOTDIR;
  }
  return dynamic_cast<const NotInNars*>(&error) != nullptr;
}

NarSource::NarSource(std::filesystem::path path)
    : state_(std::make_unique<State>(std::move(path))) {}
NarSource::~NarSource() = default;
NarSource::NarSource(NarSource&&) noexcept = default;
NarSource& NarSource::operator=(NarSource&&) noexcept = default;

void NarSource::seek(std::uint64_t offset) {
  state_->skip = offset;
}

NarSource::Piece NarSource::next() {
  State& state = *state_;
  state.buffer.clear();
  if (state.file) state.close_large_file();
  unsigned skipped = 0;
  while (!state.finished && !state.file && state.buffer.size() < piece_size &&
         skipped < skipped_at_once) {
    state.step();
    if (state.skip > 0) {
      state.apply_skip();
      ++skipped;
    }
  }
  Piece piece;
  piece.bytes = state.buffer;
  if (state.file) {
    piece.fd = state.file.get();
    piece.offset = state.file_offset;
    piece.length = state.file_size - state.file_offset;
  }
  piece.last = state.finished;
  return piece;
}

}  // namespace nixbuild::store
