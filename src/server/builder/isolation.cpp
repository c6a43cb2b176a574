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
#include <cstring>
#include <optional>
#include <set>
#include <string_view>

#include "common/base/error.hpp"

namespace nixbuild::builder {
namespace {

namespace fs = std::filesystem;

// What the first process is to do, made before it starts: behind clone(2) only system calls are
// made.
struct Plan {
  struct Cover {
    std::string path;
    bool is_directory;
  };
  struct Keep {
    std::string path;
    std::vector<std::string> parents;  // to be made again below the cover, outermost first
  };
  bool user_namespace = false;
  std::string uid_map;
  std::string gid_map;
  std::vector<Cover> covers;
  std::vector<Keep> kept;
  std::vector<int> kept_fds;  // room for one each
};

// How far the first process has come, for the message when it fails.
enum class Step : int { ready, map_users, own_mounts, cover, keep, proc };

struct Report {
  Step step;
  int error;
};

std::string_view description(Step step) {
  switch (step) {
    case Step::ready:
      break;
    case Step::map_users:
      return "mapping the user into a user namespace";
    case Step::own_mounts:
      return "leaving the system's mounts";
    case Step::cover:
      return "covering what programs must not see";
    case Step::keep:
      return "showing the clone again";
    case Step::proc:
      return "mounting /proc";
  }
  return "making namespaces";
}

bool is_at_or_below(const fs::path& path, const fs::path& directory) {
  return std::mismatch(directory.begin(), directory.end(), path.begin(), path.end()).first ==
         directory.end();
}

fs::path resolved(const fs::path& path) {
  std::error_code error;
  auto result = fs::weakly_canonical(path, error);
  return error ? path.lexically_normal() : result;
}

// A directory with one of these in it cannot be taken away from a program.
bool is_needed(const fs::path& directory, const Visibility& visibility) {
  static const std::vector<fs::path> usual = {
      "/bin/sh",   "/dev/null", "/etc/passwd", "/etc/ssl",     "/etc/nix",
      "/lib",      "/nix",      "/proc/self",  "/run/systemd", "/run/current-system",
      "/sys/fs",   "/tmp/x",    "/usr/bin",    "/usr/lib",     "/usr/local/bin",
      "/var/tmp/x"};
  const auto lies_within = [&](const fs::path& path) {
    return is_at_or_below(path, directory) || is_at_or_below(resolved(path), directory);
  };
  return std::any_of(usual.begin(), usual.end(), lies_within) ||
         std::any_of(visibility.needed.begin(), visibility.needed.end(), lies_within);
}

Plan plan_for(const Visibility& visibility) {
  Plan plan;
  plan.user_namespace = ::geteuid() != 0;
  plan.uid_map = fmt::format("{0} {0} 1\n", ::geteuid());
  plan.gid_map = fmt::format("{0} {0} 1\n", ::getegid());

  const fs::path state = resolved(visibility.state_dir);
  std::set<fs::path> covered;
  std::error_code error;
  if (fs::is_directory(state, error)) {
    covered.insert(state);
    plan.covers.push_back({state.string(), true});
  }
  for (const fs::path& secret : visibility.secrets) {
    // Under the name that is configured, and where it really lies.
    for (const fs::path& file : {fs::absolute(secret).lexically_normal(), resolved(secret)}) {
      const fs::path directory = resolved(file.parent_path());
      if (is_at_or_below(directory, state) || !fs::is_directory(directory, error)) continue;
      const bool whole = !is_needed(directory, visibility);
      const fs::path target = whole ? directory : directory / file.filename();
      if (!whole && !fs::exists(target, error)) continue;
      if (covered.insert(target).second) plan.covers.push_back({target.string(), whole});
    }
  }
  for (const fs::path& kept : visibility.kept) {
    const fs::path path = resolved(kept);
    if (!covered.contains(state) || !is_at_or_below(path, state)) continue;
    Plan::Keep keep{path.string(), {}};
    fs::path parent = state;
    for (const fs::path& part : path.lexically_relative(state)) {
      parent /= part;
      keep.parents.push_back(parent.string());
    }
    plan.kept.push_back(std::move(keep));
    plan.kept_fds.push_back(-1);
  }
  return plan;
}

bool write_to(const char* path, std::string_view text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool done = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  return done;
}

bool cover(const Plan::Cover& cover) {
  if (cover.is_directory) {
    return ::mount("tmpfs", cover.path.c_str(), "tmpfs", MS_NOSUID | MS_NODEV,
                   "size=256k,mode=0700") == 0;
  }
  return ::mount("/dev/null", cover.path.c_str(), nullptr, MS_BIND, nullptr) == 0;
}

// "/proc/self/fd/N", without allocating.
void name_of_descriptor(int fd, std::array<char, 32>& name) {
  constexpr std::string_view prefix = "/proc/self/fd/";
  std::memcpy(name.data(), prefix.data(), prefix.size());
  std::array<char, 12> digits{};
  std::size_t count = 0;
  do {
    digits[count++] = static_cast<char>('0' + fd % 10);
    fd /= 10;
  } while (fd > 0);
  std::size_t position = prefix.size();
  while (count > 0)
    name[position++] = digits[--count];
  name[position] = '\0';
}

bool keep(const Plan::Keep& keep, int fd) {
  for (const std::string& parent : keep.parents) {
    if (::mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST) return false;
  }
  std::array<char, 32> source{};
  name_of_descriptor(fd, source);
  return ::mount(source.data(), keep.path.c_str(), nullptr, MS_BIND | MS_REC, nullptr) == 0;
}

std::optional<Step> prepare(Plan& plan) {
  if (plan.user_namespace &&
      !(write_to("/proc/self/setgroups", "deny") && write_to("/proc/self/uid_map", plan.uid_map) &&
        write_to("/proc/self/gid_map", plan.gid_map))) {
    return Step::map_users;
  }
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return Step::own_mounts;
  // Once covered they are found no more by their paths. Descriptors from outside of this mount
  // namespace would not do.
  for (std::size_t i = 0; i < plan.kept.size(); ++i) {
    plan.kept_fds[i] = ::open(plan.kept[i].path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (plan.kept_fds[i] < 0) return Step::keep;
  }
  for (const auto& one : plan.covers) {
    if (!cover(one)) return Step::cover;
  }
  for (std::size_t i = 0; i < plan.kept.size(); ++i) {
    if (!keep(plan.kept[i], plan.kept_fds[i])) return Step::keep;
  }
  if (::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) {
    return Step::proc;
  }
  return std::nullopt;
}

[[noreturn]] void be_first_process(Plan& plan, int report_fd) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::setpgid(0, 0);
  Report report{Step::ready, 0};
  if (const auto failed = prepare(plan)) report = {*failed, errno};
  // It must hold nothing open, the build's lock above all.
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
  // What is orphaned becomes this process's child, and is reaped by the kernel.
  ::signal(SIGCHLD, SIG_IGN);
  for (;;)
    ::pause();
}

UniqueFd open_namespace(pid_t process, std::string_view name) {
  const std::string path = fmt::format("/proc/{}/ns/{}", process, name);
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) throw SystemError(errno, fmt::format("opening {}", path));
  return fd;
}

}  // namespace

Isolation::Isolation(const Visibility& visibility) {
  Plan plan = plan_for(visibility);
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) throw SystemError(errno, "making a pipe");
  const UniqueFd read_end(pipe[0]);
  UniqueFd write_end(pipe[1]);

  unsigned long flags = CLONE_NEWNS | CLONE_NEWPID | SIGCHLD;
  if (plan.user_namespace) flags |= CLONE_NEWUSER;
  // Without a stack of its own the child goes on with a copy of this one, as with fork(2).
  const auto child = static_cast<pid_t>(::syscall(SYS_clone, flags, 0, 0, 0, 0));
  if (child == 0) be_first_process(plan, write_end.get());
  if (child < 0) throw SystemError(errno, "making namespaces");
  first_process_ = child;
  write_end.reset();

  Report report{};
  ssize_t told = 0;
  do {
    told = ::read(read_end.get(), &report, sizeof report);
  } while (told < 0 && errno == EINTR);
  try {
    if (told != static_cast<ssize_t>(sizeof report)) {
      throw SystemError(ECHILD, "making namespaces");
    }
    if (report.step != Step::ready) throw SystemError(report.error, description(report.step));
    // The user namespace comes first: it gives the right to join the others.
    if (plan.user_namespace) descriptors_.push_back(open_namespace(child, "user"));
    descriptors_.push_back(open_namespace(child, "mnt"));
    descriptors_.push_back(open_namespace(child, "pid"));
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
  // The first process of a pid namespace is reaped only after all others in it are gone.
  while (::waitpid(first_process_, nullptr, 0) < 0 && errno == EINTR) {
  }
  first_process_ = -1;
  joined_.clear();
  descriptors_.clear();
}

}  // namespace nixbuild::builder
