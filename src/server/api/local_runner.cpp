// Builds as child processes.
//
// A child has a session of its own and writes to files, so it outlives this process when that is
// killed; the build then goes on, and whoever serves the API next sees it by its lock. When this
// process ends in good order, it ends its children's builds first.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "common/base/files.hpp"
#include "common/base/log.hpp"
#include "server/api/runner.hpp"
#include "server/history/build_lock.hpp"

extern char** environ;

namespace nixbuild::api {
namespace {

constexpr std::chrono::seconds end_patience{15};
constexpr const char* program = "/proc/self/exe";

class LocalRunner : public Runner {
 public:
  LocalRunner(const history::StateLayout& layout, RunArguments arguments)
      : layout_(layout), arguments_(std::move(arguments)) {}
  ~LocalRunner() override { end_all(); }

  const char* name() const noexcept override { return "local"; }
  void start(const std::string& repository, std::int64_t build) override;
  void stop(const std::string& repository) override;

 private:
  void supervise(pid_t pid, const std::string& repository, std::int64_t build);
  void end_all();

  const history::StateLayout layout_;
  const RunArguments arguments_;
  std::mutex mutex_;
  struct Child {
    std::string repository;
    std::thread supervisor;
  };
  std::map<pid_t, Child> children_;
};

// Opens /dev/null as input and output, for the build's log is in a file already, and `output` as
// error.
class FileActions {
 public:
  explicit FileActions(const std::string& output) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions_, STDERR_FILENO, output.c_str(),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0640);
  }
  ~FileActions() { posix_spawn_file_actions_destroy(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

// A session of its own, and no signal blocked or ignored: this process ignores SIGPIPE.
class Attributes {
 public:
  Attributes() {
    posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~Attributes() { posix_spawnattr_destroy(&attributes_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

std::string last_line(const std::filesystem::path& file) {
  std::string text;
  try {
    text = read_file(file).value_or(std::string());
  } catch (const Error&) {
    return {};
  }
  while (!text.empty() && text.back() == '\n')
    text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

void LocalRunner::start(const std::string& repository, std::int64_t build) {
  std::vector<std::string> words = {"nixbuild", "run-build", repository};
  words.insert(words.end(), arguments_.begin(), arguments_.end());
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words)
    argv.push_back(word.data());
  argv.push_back(nullptr);

  const std::string output = layout_.runner_output(repository).string();
  const FileActions actions(output);
  const Attributes attributes;
  pid_t pid = -1;
  const std::lock_guard lock(mutex_);
  if (const int error =
          ::posix_spawn(&pid, program, actions.get(), attributes.get(), argv.data(), environ);
      error != 0) {
    throw RunnerError(SystemError(error, "starting run-build").what());
  }
  children_.emplace(pid, Child{repository, std::thread([this, pid, repository, build] {
                                 supervise(pid, repository, build);
                               })});
}

// Waits for a child. One that never took its build from the queue has said why on its output.
void LocalRunner::supervise(pid_t pid, const std::string& repository, std::int64_t build) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  try {
    fail_unstarted(layout_, repository, build, [&] {
      const std::string said = last_line(layout_.runner_output(repository));
      return said.empty() ? "run-build could not be started" : "run-build: " + said;
    });
  } catch (const Error& error) {
    log::error("after a build of {}: {}", repository, error.what());
  }
  const std::lock_guard lock(mutex_);
  // Unless end_all() has taken it over, to join it.
  if (const auto self = children_.find(pid); self != children_.end()) {
    self->second.supervisor.detach();
    children_.erase(self);
  }
}

void LocalRunner::stop(const std::string& repository) {
  std::set<pid_t> to_end;
  if (const auto holder = history::lock_holder(layout_.lock(repository))) to_end.insert(*holder);
  {
    // One may not have come to take the lock yet.
    const std::lock_guard lock(mutex_);
    for (const auto& [child, what] : children_) {
      if (what.repository == repository) to_end.insert(child);
    }
  }
  for (const pid_t pid : to_end) {
    if (::kill(pid, SIGTERM) != 0 && errno != ESRCH) {
      throw RunnerError(
          SystemError(errno, fmt::format("ending run-build, process {}", pid)).what());
    }
  }
}

void LocalRunner::end_all() {
  std::map<pid_t, Child> children;
  {
    const std::lock_guard lock(mutex_);
    children.swap(children_);
  }
  for (const auto& [pid, child] : children)
    ::kill(pid, SIGTERM);
  // run-build itself kills what does not end in time; this is for the case that it hangs.
  const auto deadline = std::chrono::steady_clock::now() + end_patience;
  for (auto& [pid, child] : children) {
    while (::kill(pid, 0) == 0 && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    ::kill(pid, SIGKILL);
    child.supervisor.join();
  }
}

}  // namespace

std::unique_ptr<Runner> make_local_runner(const history::StateLayout& layout,
                                          RunArguments arguments) {
  return std::make_unique<LocalRunner>(layout, std::move(arguments));
}

}  // namespace nixbuild::api
