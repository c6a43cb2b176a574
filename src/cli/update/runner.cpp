#include "cli/update/runner.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <span>

#include "common/base/error.hpp"
#include "common/base/unique_fd.hpp"
#include "common/config/load.hpp"

namespace nixbuild::cli {
namespace {

// How long a program may take to end when asked to.
constexpr std::chrono::seconds end_patience{10};
// How often to poll a program in the foreground.
constexpr int poll_milliseconds = 50;

[[noreturn]] void execute(char* const* arguments, const char* directory, int report) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE})
    ::signal(number, SIG_DFL);
  if (directory == nullptr || ::chdir(directory) == 0) {
    ::dup2(STDERR_FILENO, STDOUT_FILENO);
    ::execv(arguments[0], arguments);
  }
  const int reason = errno;
  (void)!::write(report, &reason, sizeof reason);
  ::_exit(127);
}

int code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Waits for the child, and asks it to end if `guard` was interrupted.
int wait_for(pid_t child, const InterruptGuard& guard) {
  bool asked = false;
  for (;;) {
    int status = 0;
    const pid_t reaped = ::waitpid(child, &status, WNOHANG);
    if (reaped == child) return code_of(status);
    if (reaped < 0 && errno != EINTR) throw SystemError(errno, "waiting for a program");
    if (guard.is_interrupted() && !asked) {
      // The terminal has sent Ctrl-C to the child as well; other signals reach only this process.
      ::kill(child, SIGTERM);
      asked = true;
    }
    struct pollfd wake = {guard.fd(), POLLIN, 0};
    (void)::poll(&wake, asked ? 0 : 1, poll_milliseconds);
  }
}

}  // namespace

Exit Runner::quiet(Command command) const {
  Subprocess process(std::move(command));
  const std::array children = {&process};
  const std::span<Subprocess* const> all(children);
  if (wait_for_any(all, guard_.fd(), std::nullopt) == Wake::ended) return process.exit();
  process.signal(SIGTERM);
  wait_for_any(all, -1, std::chrono::steady_clock::now() + end_patience);
  throw Interrupted();
}

Exit Runner::nix(std::vector<std::string> arguments, const std::filesystem::path& directory) const {
  Command command;
  command.arguments = {"nix", "--extra-experimental-features", "nix-command flakes"};
  command.arguments.insert(command.arguments.end(), arguments.begin(), arguments.end());
  const std::vector<std::string> extra = option_arguments();
  command.arguments.insert(command.arguments.end(), extra.begin(), extra.end());
  command.directory = directory;
  return quiet(std::move(command));
}

int Runner::foreground(const std::vector<std::string>& arguments,
                       const std::filesystem::path& directory) const {
  std::vector<std::string> words = arguments;
  words.front() = need_program(words.front(), "");
  std::vector<char*> pointers;
  for (std::string& word : words)
    pointers.push_back(word.data());
  pointers.push_back(nullptr);

  int ends[2];
  if (::pipe(ends) != 0) throw SystemError(errno, "making a pipe");
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  for (const int end : ends)
    ::fcntl(end, F_SETFD, FD_CLOEXEC);
  const pid_t child = ::fork();
  if (child < 0) throw SystemError(errno, fmt::format("starting {}", words.front()));
  if (child == 0) {
    execute(pointers.data(), directory.empty() ? nullptr : directory.c_str(), write_end.get());
  }
  write_end.reset();
  int reason = 0;
  const bool failed = ::read(read_end.get(), &reason, sizeof reason) == sizeof reason;
  const int code = wait_for(child, guard_);
  if (failed) throw SystemError(reason, fmt::format("starting {}", words.front()));
  if (guard_.is_interrupted()) throw Interrupted();
  return code;
}

std::vector<std::string> Runner::option_arguments() const {
  std::vector<std::string> result;
  for (const auto& [name, value] : options) {
    result.insert(result.end(), {"--option", name, value});
  }
  return result;
}

std::string need_program(const std::string& name, const std::string& advice) {
  const auto found =
      find_program(name, config::process_environment("PATH").value_or("/usr/bin:/bin"));
  if (found) return *found;
  throw Error(
      fmt::format("there is no '{}' in PATH{}{}", name, advice.empty() ? "" : "; ", advice));
}

}  // namespace nixbuild::cli
