#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/base/error.hpp"
#include "common/base/unique_fd.hpp"
#include "common/nix/nar.hpp"
#include "common/nix/nar_walk.hpp"

namespace nixbuild::nix {

namespace {

// Framing and small files are buffered up to this size before they go to the sink.
constexpr std::size_t gather_size = std::size_t{64} << 10;
// Larger files go to the sink in pieces of this size.
constexpr std::size_t piece_size = std::size_t{256} << 10;

class Dumper : public TreeVisitor {
 public:
  explicit Dumper(const NarSink& sink) : sink_(sink) {
    out_.reserve(piece_size);
    nar_framing::magic(out_);
  }

  void regular(int dir_fd, const char* name, const std::string& path) override {
    // O_NONBLOCK: if a FIFO has replaced the file, opening it must not wait for a writer.
    const UniqueFd fd(::openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!fd) throw SystemError(errno, fmt::format("cannot open '{}'", path));
    struct stat status {};
    if (::fstat(fd.get(), &status) != 0)
      throw SystemError(errno, fmt::format("cannot examine '{}'", path));
    if (!S_ISREG(status.st_mode)) throw_changed(path);
    const auto size = static_cast<std::uint64_t>(status.st_size);
    nar_framing::begin_file(out_, (status.st_mode & S_IXUSR) != 0, size);
    if (size <= gather_size)
      small_content(fd.get(), static_cast<std::size_t>(size), path);
    else
      large_content(fd.get(), size, path);
    nar_framing::end_file(out_, size);
  }

  void symlink(std::string_view target) override { nar_framing::symlink(out_, target); }
  void begin_directory() override { nar_framing::begin_directory(out_); }
  void begin_entry(std::string_view name) override {
    nar_framing::begin_entry(out_, name);
    if (out_.size() >= gather_size) flush();
  }
  void end_entry() override {
    nar_framing::end_entry(out_);
    if (out_.size() >= gather_size) flush();
  }
  void end_directory() override { nar_framing::end_directory(out_); }

  void flush() {
    if (!out_.empty()) sink_(out_);
    out_.clear();
  }

 private:
  [[noreturn]] static void throw_changed(const std::string& path) {
    throw Error(fmt::format("'{}' changed while it was read", path));
  }

  // Reads at most `size` bytes; fewer only at the end of the file.
  static std::size_t read_piece(int fd, char* to, std::size_t size, const std::string& path) {
    while (true) {
      const ssize_t count = ::read(fd, to, size);
      if (count >= 0) return static_cast<std::size_t>(count);
      if (errno != EINTR) throw SystemError(errno, fmt::format("cannot read '{}'", path));
    }
  }

  // Both request one byte more than expected, so that a file that grew is noticed without another
  // system call.
  void small_content(int fd, std::size_t size, const std::string& path) {
    const std::size_t begin = out_.size();
    out_.resize(begin + size + 1);
    std::size_t done = 0;
    while (true) {
      const std::size_t count = read_piece(fd, out_.data() + begin + done, size + 1 - done, path);
      done += count;
      if (done == size) break;
      if (done > size || count == 0) throw_changed(path);
    }
    out_.resize(begin + size);
  }

  void large_content(int fd, std::uint64_t size, const std::string& path) {
    flush();
    out_.resize(piece_size);
    std::uint64_t left = size;
    while (left > 0) {
      const std::size_t wanted =
          left < piece_size ? static_cast<std::size_t>(left) + 1 : piece_size;
      const std::size_t count = read_piece(fd, out_.data(), wanted, path);
      if (count == 0 || count > left) throw_changed(path);
      sink_(std::string_view(out_).substr(0, count));
      left -= count;
    }
    out_.clear();
  }

  const NarSink& sink_;
  std::string out_;
};

}  // namespace

void dump_nar(const std::filesystem::path& path, const NarSink& sink) {
  Dumper dumper(sink);
  walk_tree(path, dumper);
  dumper.flush();
}

}  // namespace nixbuild::nix
