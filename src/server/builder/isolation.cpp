#include "server/builder/isolation.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/files.hpp"

namespace nixbuild::builder {
namespace {

namespace fs = std::filesystem;

// While the view is being assembled, the system's root is at /old and the view at /new.
constexpr const char* workplace = "/tmp";

// Directories with programs, libraries and data that all users may read.
constexpr std::array<std::string_view, 13> system_directories = {
    "/bin",     "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
    "/usr",     "/nix",  "/gnu", "/opt",   "/sys",   "/run/systemd/resolve",
    "/run/nscd"};
// The parts of /etc and /run that programs need: users, names, certificates, and the settings of
// Nix, git and ssh. Everything else there is private to the server.
constexpr std::array<std::string_view, 41> system_files = {"/etc/alternatives",
                                                           "/etc/ca-certificates",
                                                           "/etc/ca-certificates.conf",
                                                           "/etc/default/locale",
                                                           "/etc/gai.conf",
                                                           "/etc/gitattributes",
                                                           "/etc/gitconfig",
                                                           "/etc/group",
                                                           "/etc/host.conf",
                                                           "/etc/hostname",
                                                           "/etc/hosts",
                                                           "/etc/ld.so.cache",
                                                           "/etc/ld.so.conf",
                                                           "/etc/ld.so.conf.d",
                                                           "/etc/locale.conf",
                                                           "/etc/localtime",
                                                           "/etc/lsb-release",
                                                           "/etc/machine-id",
                                                           "/etc/mercurial",
                                                           "/etc/mime.types",
                                                           "/etc/netconfig",
                                                           "/etc/nix/machines",
                                                           "/etc/nix/nix.conf",
                                                           "/etc/nix/nix.custom.conf",
                                                           "/etc/nix/registry.json",
                                                           "/etc/nsswitch.conf",
                                                           "/etc/os-release",
                                                           "/etc/passwd",
                                                           "/etc/pki",
                                                           "/etc/protocols",
                                                           "/etc/resolv.conf",
                                                           "/etc/services",
                                                           "/etc/ssh/ssh_config",
                                                           "/etc/ssh/ssh_config.d",
                                                           "/etc/ssh/ssh_known_hosts",
                                                           "/etc/ssl/certs",
                                                           "/etc/ssl/openssl.cnf",
                                                           "/etc/static",
                                                           "/etc/zoneinfo",
                                                           "/run/current-system",
                                                           "/run/systemd/nss"};
constexpr std::array<std::string_view, 7> device_names = {"null",    "zero", "full", "random",
                                                          "urandom", "tty",  "kvm"};
// Files that the kernel lets the user root write to, even without privileges.
constexpr std::array<std::string_view, 5> kernel_settings = {"sys", "sysrq-trigger", "irq", "bus",
                                                             "fs"};

// For mount_setattr(2), which older C libraries do not declare.
struct MountAttributes {
  std::uint64_t set;
  std::uint64_t clear;
  std::uint64_t propagation;
  std::uint64_t user_namespace;
};
constexpr std::uint64_t read_only = 1;
constexpr std::uint64_t no_set_uid = 2;
constexpr std::uint64_t no_devices = 4;
constexpr unsigned recursive = 0x8000;  // AT_RECURSIVE
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif

// The actions of the first process, prepared before it starts: after clone(2), it only makes system
// calls.
struct Plan {
  struct Entry {
    enum class Kind { directory, file, link, empty, fifo } kind;
    std::string target;  // below /new
    std::string source;  // below /old; for a link, its text
    std::uint64_t attributes = 0;
    std::vector<std::string> parents;  // to be created, outermost first
  };
  std::vector<Entry> entries;
  bool is_root = false;
};

// The first process's progress, for the message if it fails.
enum class Step : int { ready, wait, own_mounts, make_root, bind, devices, proc, enter };

struct ChildReport {
  Step step;
  int error;
};

std::string_view description(Step step) {
  switch (step) {
    case Step::ready:
      break;
    case Step::wait:
      return "mapping users into a user namespace";
    case Step::own_mounts:
      return "leaving the system's mounts";
    case Step::make_root:
      return "mounting an empty root directory";
    case Step::bind:
      return "binding directories into the view of the build";
    case Step::devices:
      return "making /dev";
    case Step::proc:
      return "mounting /proc";
    case Step::enter:
      return "entering the view of the build";
  }
  return "making namespaces";
}

fs::path resolved(const fs::path& path) {
  std::error_code error;
  auto result = fs::weakly_canonical(path, error);
  return error ? path.lexically_normal() : result;
}

std::vector<std::string> parents_of(const std::string& target) {
  std::vector<std::string> parents;
  for (std::size_t at = target.find('/', 1); at != std::string::npos;
       at = target.find('/', at + 1)) {
    parents.push_back(target.substr(0, at));
  }
  return parents;
}

class Planner {
 public:
  Plan plan_for(const View& view) {
    plan_.is_root = ::geteuid() == 0;
    for (const std::string_view path : system_directories)
      add_system(fs::path(path));
    for (const std::string_view path : system_files)
      add_system(fs::path(path));
    if (!view.temporary.empty()) {
      for (const char* name : {"/tmp", "/var/tmp"})
        bind(resolved(view.temporary), name, no_set_uid | no_devices);
    }
    for (const fs::path& path : view.readable)
      add(path, read_only | no_set_uid | no_devices);
    for (const fs::path& path : view.writable)
      add(path, no_set_uid | no_devices);
    for (const fs::path& path : view.hidden)
      hide(path);
    for (const auto& [source, target] : view.placed) {
      bind(resolved(source), target, read_only | no_set_uid | no_devices);
      // Nix aborts a copy if it finds anything other than files, directories and links.
      const std::string fifo = "/new" + (target.parent_path() / "not-to-be-copied").string();
      plan_.entries.push_back({Plan::Entry::Kind::fifo, fifo, {}, 0, parents_of(fifo)});
    }
    // Parents before their contents; if two have the same place, the later one wins.
    std::stable_sort(
        plan_.entries.begin(), plan_.entries.end(),
        [](const auto& left, const auto& right) { return left.target < right.target; });
    return std::move(plan_);
  }

 private:
  void add_system(const fs::path& path) {
    std::error_code error;
    if (fs::is_symlink(path, error)) {
      const std::string target = "/new" + path.string();
      plan_.entries.push_back({Plan::Entry::Kind::link, target,
                               fs::read_symlink(path, error).string(), 0, parents_of(target)});
      // For instance /etc/resolv.conf, which links to a file elsewhere.
      const fs::path real = resolved(path);
      if (!is_part_of_system(real) && fs::is_regular_file(real, error)) {
        bind(real, real, read_only | no_set_uid);
      }
      return;
    }
    bind(path, path, read_only | no_set_uid);
  }

  void add(const fs::path& path, std::uint64_t attributes) {
    const fs::path plain = fs::absolute(path).lexically_normal();
    const fs::path real = resolved(path);
    bind(real, real, attributes);
    if (plain != real) bind(real, plain, attributes);
  }

  void bind(const fs::path& source, const fs::path& target, std::uint64_t attributes) {
    std::error_code error;
    if (source == "/" || !fs::exists(source, error)) return;
    const std::string below = "/new" + target.string();
    plan_.entries.push_back(
        {fs::is_directory(source, error) ? Plan::Entry::Kind::directory : Plan::Entry::Kind::file,
         below, "/old" + source.string(), attributes, parents_of(below)});
  }

  // Hides the path wherever it is visible.
  void hide(const fs::path& path) {
    std::error_code error;
    const fs::path real = resolved(path);
    if (!fs::exists(real, error)) return;
    const bool is_directory = fs::is_directory(real, error);
    std::vector<Plan::Entry> hidden;
    for (const Plan::Entry& entry : plan_.entries) {
      if (entry.kind != Plan::Entry::Kind::directory && entry.kind != Plan::Entry::Kind::file) {
        continue;
      }
      const fs::path source = entry.source.substr(std::string_view("/old").size());
      if (!is_at_or_below(real, source)) continue;
      const fs::path inside = real.lexically_relative(source);
      const std::string target =
          inside == "." ? entry.target : (fs::path(entry.target) / inside).string();
      hidden.push_back({is_directory ? Plan::Entry::Kind::empty : Plan::Entry::Kind::file, target,
                        is_directory ? "" : "/old/dev/null", is_directory ? 0 : read_only,
                        parents_of(target)});
    }
    plan_.entries.insert(plan_.entries.end(), hidden.begin(), hidden.end());
  }

  Plan plan_;
};

bool restrict_mount(const char* target, std::uint64_t attributes) {
  MountAttributes change{attributes, 0, 0, 0};
  return ::syscall(SYS_mount_setattr, AT_FDCWD, target, recursive, &change, sizeof change) == 0;
}

bool bind_mount(const char* source, const char* target, std::uint64_t attributes) {
  return ::mount(source, target, nullptr, MS_BIND | MS_REC, nullptr) == 0 &&
         restrict_mount(target, attributes);
}

bool make_directory(const char* path) {
  return ::mkdir(path, 0755) == 0 || errno == EEXIST || errno == EROFS;
}

bool make_file(const char* path) {
  const int fd = ::open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0) {
    struct stat status {};
    return ::lstat(path, &status) == 0;
  }
  ::close(fd);
  return true;
}

bool place(const Plan::Entry& entry) {
  for (const std::string& parent : entry.parents) {
    if (!make_directory(parent.c_str())) return false;
  }
  switch (entry.kind) {
    case Plan::Entry::Kind::link:
      return ::symlink(entry.source.c_str(), entry.target.c_str()) == 0 || errno == EEXIST ||
             errno == EROFS;
    case Plan::Entry::Kind::fifo:
      return ::mkfifo(entry.target.c_str(), 0600) == 0 || errno == EEXIST;
    case Plan::Entry::Kind::empty:
      return make_directory(entry.target.c_str()) &&
             ::mount("tmpfs", entry.target.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") ==
                 0;
    case Plan::Entry::Kind::directory:
      if (!make_directory(entry.target.c_str())) return false;
      break;
    case Plan::Entry::Kind::file:
      if (!make_file(entry.target.c_str())) return false;
      break;
  }
  return bind_mount(entry.source.c_str(), entry.target.c_str(), entry.attributes);
}

// Writes PREFIX/NAME to a buffer, because allocating is not allowed here.
template <std::size_t size>
const char* joined(std::array<char, size>& buffer, const char* prefix, std::string_view name) {
  std::size_t length = std::strlen(prefix);
  std::memcpy(buffer.data(), prefix, length);
  std::memcpy(buffer.data() + length, name.data(), name.size());
  buffer[length + name.size()] = '\0';
  return buffer.data();
}

bool make_devices() {
  constexpr unsigned long flags = MS_NOSUID | MS_NOEXEC;
  if (!make_directory("/new/dev") ||
      ::mount("tmpfs", "/new/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755") != 0) {
    return false;
  }
  std::array<char, 64> source{};
  std::array<char, 64> target{};
  for (const std::string_view name : device_names) {
    joined(source, "/old/dev/", name);
    struct stat status {};
    if (::stat(source.data(), &status) != 0) continue;
    joined(target, "/new/dev/", name);
    if (!make_file(target.data()) ||
        ::mount(source.data(), target.data(), nullptr, MS_BIND, nullptr) != 0) {
      return false;
    }
  }
  constexpr std::array<std::pair<const char*, const char*>, 5> links = {{
      {"/proc/self/fd", "/new/dev/fd"},
      {"/proc/self/fd/0", "/new/dev/stdin"},
      {"/proc/self/fd/1", "/new/dev/stdout"},
      {"/proc/self/fd/2", "/new/dev/stderr"},
      {"pts/ptmx", "/new/dev/ptmx"},
  }};
  for (const auto& [text, name] : links) {
    if (::symlink(text, name) != 0) return false;
  }
  if (!make_directory("/new/dev/pts") || !make_directory("/new/dev/shm")) return false;
  if (::mount("devpts", "/new/dev/pts", "devpts", flags, "newinstance,ptmxmode=0666,mode=0620") !=
          0 &&
      ::mount("/old/dev/pts", "/new/dev/pts", nullptr, MS_BIND | MS_REC, nullptr) != 0) {
    return false;
  }
  return ::mount("tmpfs", "/new/dev/shm", "tmpfs", flags | MS_NODEV, "mode=1777,size=64m") == 0;
}

// The kernel allows mounting a new /proc only if no part of the old one is covered, as with
// systemd's ProtectKernelTunables=. The old one lists the processes of others, but does not give
// access to them: they belong to another user namespace.
bool make_proc(bool is_root) {
  if (!make_directory("/new/proc")) return false;
  if (::mount("proc", "/new/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0 &&
      ::mount("/old/proc", "/new/proc", nullptr, MS_BIND | MS_REC, nullptr) != 0) {
    return false;
  }
  if (!is_root) return true;
  std::array<char, 64> path{};
  for (const std::string_view name : kernel_settings) {
    joined(path, "/new/proc/", name);
    struct stat status {};
    if (::stat(path.data(), &status) != 0) continue;
    if (!bind_mount(path.data(), path.data(), read_only)) return false;
  }
  return true;
}

// Makes an empty root directory at /, with the system's root at /old and a mount point at /new.
bool make_root() {
  std::array<char, 32> path{};
  if (::mount("tmpfs", workplace, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") != 0) return false;
  for (const std::string_view name : {"/new", "/old"}) {
    if (::mkdir(joined(path, workplace, name), 0755) != 0) return false;
  }
  joined(path, workplace, "/old");
  if (::syscall(SYS_pivot_root, workplace, path.data()) != 0 || ::chdir("/") != 0) return false;
  return ::mount("tmpfs", "/new", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") == 0;
}

bool enter() {
  if (::umount2("/old", MNT_DETACH) != 0 || ::chdir("/new") != 0) return false;
  // pivot_root(2), "pivot_root(".", ".")": the old root is mounted on top of the new one, then
  // unmounted.
  if (::syscall(SYS_pivot_root, ".", ".") != 0 || ::umount2(".", MNT_DETACH) != 0) return false;
  return ::chdir("/") == 0 &&
         ::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV,
                 nullptr) == 0;
}

std::optional<Step> prepare(const Plan& plan, int mapped_fd) {
  char mapped = 0;
  ssize_t n = 0;
  do {
    n = ::read(mapped_fd, &mapped, 1);
  } while (n < 0 && errno == EINTR);
  if (n != 1) {
    errno = EPERM;
    return Step::wait;
  }
  ::umask(022);
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return Step::own_mounts;
  if (!make_root()) return Step::make_root;
  for (const Plan::Entry& entry : plan.entries) {
    if (!place(entry)) return Step::bind;
  }
  if (!make_devices()) return Step::devices;
  if (!make_proc(plan.is_root)) return Step::proc;
  if (!enter()) return Step::enter;
  return std::nullopt;
}

[[noreturn]] void be_first_process(const Plan& plan, int mapped_fd, int report_fd) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::setpgid(0, 0);
  ChildReport report{Step::ready, 0};
  if (const auto failed = prepare(plan, mapped_fd)) report = {*failed, errno};
  // The process must not keep files open, in particular the build's lock.
  const int kept = 3;
  if (report_fd != kept) ::dup2(report_fd, kept);
#ifdef SYS_close_range
  if (::syscall(SYS_close_range, 4U, ~0U, 0U) != 0)
#endif
  {
    for (int fd = 4; fd < 65536; ++fd)
      ::close(fd);
  }
  static_cast<void>(::write(kept, &report, sizeof report));
  for (int fd = 0; fd <= kept; ++fd)
    ::close(fd);
  if (report.step != Step::ready) ::_exit(1);
  // Orphans become children of this process, and the kernel reaps them.
  ::signal(SIGCHLD, SIG_IGN);
  for (;;)
    ::pause();
}

void write_to(const std::string& path, std::string_view text) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    throw SystemError(errno, fmt::format("writing {}", path));
  }
}

// Maps every id of this namespace to itself. Source: user_namespaces(7).
std::string whole_map(const char* file) {
  std::istringstream lines(read_file(file).value_or(""));
  std::string map;
  std::uint64_t inside = 0;
  std::uint64_t outside = 0;
  std::uint64_t count = 0;
  while (lines >> inside >> outside >> count)
    map += fmt::format("{0} {0} {1}\n", inside, count);
  return map;
}

// Root maps all users, because Nix assigns files and processes to its build users. Other users can
// map only themselves.
void map_users(pid_t process) {
  const std::string directory = fmt::format("/proc/{}/", process);
  if (::geteuid() == 0) {
    write_to(directory + "uid_map", whole_map("/proc/self/uid_map"));
    write_to(directory + "gid_map", whole_map("/proc/self/gid_map"));
    return;
  }
  write_to(directory + "setgroups", "deny");
  write_to(directory + "uid_map", fmt::format("{0} {0} 1\n", ::geteuid()));
  write_to(directory + "gid_map", fmt::format("{0} {0} 1\n", ::getegid()));
}

UniqueFd open_namespace(pid_t process, std::string_view name) {
  const std::string path = fmt::format("/proc/{}/ns/{}", process, name);
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) throw SystemError(errno, fmt::format("opening {}", path));
  return fd;
}

std::pair<UniqueFd, UniqueFd> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw SystemError(errno, "making a pipe");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

}  // namespace

Isolation::Isolation(const View& view) {
  const Plan plan = Planner().plan_for(view);
  auto [report_read, report_write] = make_pipe();
  auto [mapped_read, mapped_write] = make_pipe();

  constexpr unsigned long flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | SIGCHLD;
  // Without a separate stack, the child continues with a copy of this one, as with fork(2).
  const auto child = static_cast<pid_t>(::syscall(SYS_clone, flags, 0, 0, 0, 0));
  if (child == 0) {
    ::close(mapped_write.get());
    be_first_process(plan, mapped_read.get(), report_write.get());
  }
  if (child < 0) throw SystemError(errno, "making namespaces");
  first_process_ = child;
  report_write.reset();
  mapped_read.reset();

  try {
    map_users(child);
    static_cast<void>(::write(mapped_write.get(), "m", 1));
    ChildReport report{};
    ssize_t told = 0;
    do {
      told = ::read(report_read.get(), &report, sizeof report);
    } while (told < 0 && errno == EINTR);
    if (told != static_cast<ssize_t>(sizeof report)) {
      throw SystemError(ECHILD, "making namespaces");
    }
    if (report.step != Step::ready) throw SystemError(report.error, description(report.step));
    // Join the user namespace first: it gives permission to join the others.
    for (const char* name : {"user", "mnt", "pid"})
      descriptors_.push_back(open_namespace(child, name));
  } catch (const SystemError&) {
    end();
    throw;
  }
  for (const UniqueFd& fd : descriptors_)
    joined_.push_back(fd.get());
}

Isolation::~Isolation() {
  end();
}

Isolation::Isolation(Isolation&& other) noexcept
    : first_process_(std::exchange(other.first_process_, -1)),
      descriptors_(std::move(other.descriptors_)),
      joined_(std::move(other.joined_)) {}

Isolation& Isolation::operator=(Isolation&& other) noexcept {
  if (this != &other) {
    end();
    first_process_ = std::exchange(other.first_process_, -1);
    descriptors_ = std::move(other.descriptors_);
    joined_ = std::move(other.joined_);
  }
  return *this;
}

void Isolation::end() {
  if (first_process_ <= 0) return;
  ::kill(first_process_, SIGKILL);
  // The first process of a pid namespace is reaped only after all others in it have ended.
  while (::waitpid(first_process_, nullptr, 0) < 0 && errno == EINTR) {
  }
  first_process_ = -1;
  joined_.clear();
  descriptors_.clear();
}

bool is_part_of_system(const fs::path& path) {
  const fs::path real = resolved(path);
  return std::any_of(
      system_directories.begin(), system_directories.end(),
      [&](std::string_view directory) { return is_at_or_below(real, fs::path(directory)); });
}

}  // namespace nixbuild::builder
