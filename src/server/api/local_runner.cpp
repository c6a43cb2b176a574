// Runs builds as child processes.
//
// A child has its own session and writes to files, so it survives if this process is killed. The
// build then continues, and the next API server detects it by its lock. On a normal exit, this
// process first ends its children's builds.
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "common/base/exit_code.hpp"
#include "common/base/files.hpp"
#include "common/base/log.hpp"
#include "common/base/subprocess.hpp"
#include "server/api/runner.hpp"
#include "server/history/build_lock.hpp"
#include "server/history/history.hpp"

namespace nixbuild::api {
namespace {

constexpr std::chrono::seconds end_patience{15};
constexpr const char* program = "/proc/self/exe";
constexpr std::size_t output_limit = std::size_t{1} << 20;  // bytes, of run-build's output

class LocalRunner : public Runner {
 public:
  LocalRunner(const history::StateLayout& layout, RunArguments arguments)
      : layout_(layout), arguments_(std::move(arguments)) {}
  ~LocalRunner() override { end_all(); }

  const char* name() const noexcept override { return "local"; }
  void start(const std::string& repository, std::int64_t build) override;
  void stop(const std::string& repository) override;

 private:
  // The caller must hold mutex_.
  void launch(const std::string& repository, std::int64_t build, int starts);
  void supervise(Subprocess process, const std::string& repository, std::int64_t build, int starts);
  // Handles the queued build of the repository, unless another process does. `starts` is how often
  // build `build` was started.
  void go_on(const Exit& exit, const std::string& repository, std::int64_t build, int starts);
  void end_all();

  const history::StateLayout layout_;
  const RunArguments arguments_;
  std::mutex mutex_;
  struct Child {
    std::string repository;
    std::thread supervisor;
  };
  std::map<pid_t, Child> children_;
  bool is_ending_ = false;
};

std::string last_line(const std::filesystem::path& file) {
  std::string text;
  try {
    text = read_file_beneath(file.parent_path(), file.filename(), output_limit)
               .value_or(std::string());
  } catch (const Error&) {
    return {};
  }
  while (!text.empty() && text.back() == '\n')
    text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

void LocalRunner::start(const std::string& repository, std::int64_t build) {
  const std::lock_guard lock(mutex_);
  launch(repository, build, 1);
}

void LocalRunner::launch(const std::string& repository, std::int64_t build, int starts) {
  Command command;
  command.program = program;
  command.arguments = {"nixbuild", "run-build", repository};
  command.arguments.insert(command.arguments.end(), arguments_.begin(), arguments_.end());
  command.new_session = true;
  // The build's log is already in a file.
  command.discards_output = true;
  command.error_file = layout_.runner_output(repository);
  try {
    Subprocess process(std::move(command));
    const pid_t pid = process.pid();
    // The thread can access children_ only after this function has released the lock.
    children_.emplace(pid, Child{repository, std::thread([this, repository, build, starts,
                                                          process = std::move(process)]() mutable {
                                   supervise(std::move(process), repository, build, starts);
                                 })});
  } catch (const SystemError& error) {
    throw RunnerError(error.what());
  }
}

void LocalRunner::supervise(Subprocess process, const std::string& repository, std::int64_t build,
                            int starts) {
  const pid_t pid = process.pid();
  Subprocess* const children[] = {&process};
  wait_for_any(children, -1, std::nullopt);
  const std::lock_guard lock(mutex_);
  // Unless end_all() has taken over the thread to join it.
  if (const auto self = children_.find(pid); self != children_.end()) {
    self->second.supervisor.detach();
    children_.erase(self);
  }
  try {
    go_on(process.exit(), repository, build, starts);
  } catch (const Error& error) {
    log::error("after a build of {}: {}", repository, error.what());
  }
}

void LocalRunner::go_on(const Exit& exit, const std::string& repository, std::int64_t build,
                        int starts) {
  // What is queued now is started again by the next server.
  if (is_ending_) return;
  const auto current = history::History(layout_.history()).current(repository);
  if (!current || !awaits_start(layout_, repository, current->id)) return;
  const bool is_another_there =
      std::any_of(children_.begin(), children_.end(),
                  [&](const auto& child) { return child.second.repository == repository; });
  if (is_another_there) return;  // it waits for the lock
  const bool gave_up = exit.code == static_cast<int>(ExitCode::lock_held);
  if (current->id != build || gave_up) {
    // It was triggered while a cancelled build's processes were still ending, or follows a build
    // that was cancelled.
    launch(repository, current->id, 1);
    return;
  }
  // SIGTERM comes from stop(), when the build is being cancelled.
  if (starts < most_starts && exit.signal != SIGTERM) {
    launch(repository, build, starts + 1);
    return;
  }
  // If run-build never took its build from the queue, its output says why.
  fail_unstarted(layout_, repository, build, [&] {
    const std::string said = last_line(layout_.runner_output(repository));
    return said.empty() ? "run-build could not be started" : "run-build: " + said;
  });
}

void LocalRunner::stop(const std::string& repository) {
  std::set<pid_t> to_end;
  if (const auto holder = history::lock_holder(layout_.lock(repository))) to_end.insert(*holder);
  {
    // A child may not have taken the lock yet.
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
    is_ending_ = true;
    children.swap(children_);
  }
  for (const auto& [pid, child] : children)
    ::kill(pid, SIGTERM);
  // run-build itself kills processes that do not end in time; this is in case it hangs.
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
