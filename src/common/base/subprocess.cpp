#include "common/base/subprocess.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/mman.h>
#include <sys/syscall.h>
#endif

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "common/base/child.hpp"
#include "common/base/error.hpp"
#include "common/base/unique_fd.hpp"

extern char** environ;

namespace nixbuild {
namespace {

using Clock = std::chrono::steady_clock;

// How often to poll a child if its end cannot be waited for together with its output.
constexpr std::chrono::milliseconds poll_interval{20};

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Pipe make_pipe() {
  std::array<int, 2> fds{};
#ifdef __linux__
  const int made = ::pipe2(fds.data(), O_CLOEXEC);
#else
  const int made = ::pipe(fds.data());
#endif
  if (made != 0) throw SystemError(errno, "making a pipe");
  Pipe pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
#ifndef __linux__
  for (const int fd : fds)
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
#endif
  return pipe;
}

// One output of a child: this process reads from the first end, if there is one, and the child
// writes to the second.
Pipe discarded() {
  UniqueFd fd(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  if (!fd) throw SystemError(errno, "opening /dev/null");
  return {UniqueFd(), std::move(fd)};
}

Pipe into_file(const std::filesystem::path& file) {
  constexpr int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  UniqueFd fd(::open(file.c_str(), flags, 0640));
  if (!fd) throw SystemError(errno, fmt::format("making {}", file.string()));
  ::fcntl(fd.get(), F_SETFL, 0);
  return {UniqueFd(), std::move(fd)};
}

// An anonymous file that holds `content`, positioned at its beginning.
UniqueFd anonymous_file(std::string_view content) {
#ifdef __linux__
  UniqueFd file(::memfd_create("input", MFD_CLOEXEC));
#else
  std::FILE* const stream = std::tmpfile();
  UniqueFd file(stream == nullptr ? -1 : ::fcntl(::fileno(stream), F_DUPFD_CLOEXEC, 0));
  if (stream != nullptr) std::fclose(stream);
#endif
  if (!file) throw SystemError(errno, "creating a temporary file for a program's input");
  while (!content.empty()) {
    const ssize_t n = ::write(file.get(), content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw SystemError(errno, "writing a program's input");
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::lseek(file.get(), 0, SEEK_SET) != 0)
    throw SystemError(errno, "rewinding a program's input");
  return file;
}

UniqueFd input_of(const Command& command) {
  if (command.input) return anonymous_file(*command.input);
  UniqueFd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!file) throw SystemError(errno, "opening /dev/null");
  return file;
}

std::vector<std::string> changed_environment(const Command& command) {
  std::map<std::string, std::optional<std::string>> changes(command.environment.begin(),
                                                            command.environment.end());
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!changes.contains(std::string(text.substr(0, text.find('='))))) result.emplace_back(text);
  }
  for (const auto& [name, value] : changes) {
    if (value) result.push_back(name + "=" + *value);
  }
  return result;
}

std::string_view value_of(const std::vector<std::string>& environment, std::string_view name) {
  for (const std::string_view entry : environment) {
    if (entry.starts_with(name) && entry.substr(name.size()).starts_with('=')) {
      return entry.substr(name.size() + 1);
    }
  }
  return {};
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (std::string& text : texts)
    result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

// The reader of one of the child's two outputs.
class Stream {
 public:
  using LineFunction = std::function<void(std::string_view)>;

  Stream(UniqueFd fd, LineFunction on_line, const char* line_ends, std::size_t limit,
         bool keeps_end)
      : fd_(std::move(fd)),
        on_line_(std::move(on_line)),
        line_ends_(line_ends),
        limit_(limit),
        keeps_end_(keeps_end) {
    if (fd_) ::fcntl(fd_.get(), F_SETFL, ::fcntl(fd_.get(), F_GETFL) | O_NONBLOCK);
  }

  int fd() const noexcept { return fd_.get(); }
  bool open() const noexcept { return static_cast<bool>(fd_); }
  bool cut() const noexcept { return cut_; }
  std::string take() { return std::move(text_); }

  // Reads what is available, in at most `rounds` reads. Returns whether there may be more.
  bool read_some(int rounds) {
    std::array<char, 65536> buffer;
    while (fd_ && rounds-- > 0) {
      const ssize_t n = ::read(fd_.get(), buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) return false;
      if (n <= 0) {
        fd_.reset();
        return false;
      }
      add({buffer.data(), static_cast<std::size_t>(n)});
    }
    return static_cast<bool>(fd_);
  }

  // After the child has ended, don't wait for other processes that hold the pipe open. A pipe holds
  // at most 1 MiB, so the child cannot have written more than that.
  void finish() {
    read_some(17);
    fd_.reset();
    if (on_line_ && !text_.empty()) end_line();
  }

 private:
  void add(std::string_view bytes) {
    if (!on_line_) {
      collect(bytes);
      return;
    }
    for (std::size_t end = bytes.find_first_of(line_ends_); end != std::string_view::npos;
         end = bytes.find_first_of(line_ends_)) {
      const std::string_view line = bytes.substr(0, bytes[end] == '\n' ? end : end + 1);
      if (text_.empty()) {
        on_line_(line);
      } else {
        add_to_line(line);
        end_line();
      }
      bytes.remove_prefix(end + 1);
    }
    add_to_line(bytes);
  }

  void add_to_line(std::string_view bytes) {
    const std::size_t room = line_limit - std::min(line_limit, text_.size());
    text_ += bytes.substr(0, room);
    if (bytes.size() <= room) return;
    tail_ += bytes.substr(room);
    if (tail_.size() > line_tail) tail_.erase(0, tail_.size() - line_tail);
  }

  void end_line() {
    text_ += std::exchange(tail_, {});
    on_line_(std::exchange(text_, {}));
  }

  void collect(std::string_view bytes) {
    text_ += bytes;
    if (text_.size() <= limit_) return;
    cut_ = true;
    if (!keeps_end_) {
      text_.resize(limit_);
    } else if (text_.size() > 2 * limit_) {
      text_.erase(0, text_.size() - limit_);
    }
  }

  UniqueFd fd_;
  LineFunction on_line_;
  std::string_view line_ends_;
  std::size_t limit_;
  bool keeps_end_;
  bool cut_ = false;
  std::string text_;
  std::string tail_;  // the end of a line that is longer than line_limit
};

}  // namespace

struct Subprocess::State {
  State(Stream output_, Stream error_) : output(std::move(output_)), error(std::move(error_)) {}

  pid_t pid = -1;
  UniqueFd pidfd;  // if the system supports it
  Stream output;
  Stream error;
  bool ended = false;
  Exit exit;

  // Reaps the child if it has ended.
  void reap(int options) {
    int status = 0;
    pid_t reaped = 0;
    do {
      reaped = ::waitpid(pid, &status, options);
    } while (reaped < 0 && errno == EINTR);
    if (reaped == 0) return;
    ended = true;
    if (reaped > 0 && WIFEXITED(status)) {
      exit.code = WEXITSTATUS(status);
    } else if (reaped > 0) {
      exit.signal = WTERMSIG(status);
      exit.code = 128 + exit.signal;
    } else {
      exit.code = 127;  // somebody else has reaped it
    }
  }

  void finish() {
    output.finish();
    error.finish();
    exit.output = output.take();
    exit.output_cut = output.cut();
    exit.error = error.take();
  }
};

std::string Exit::reason() const {
  if (signal != 0) return fmt::format("killed by signal {}", signal);
  return fmt::format("exit code {}", code);
}

std::optional<std::string> find_program(const std::string& name, std::string_view path) {
  if (name.find('/') != std::string::npos) return name;
  while (!path.empty()) {
    const std::size_t colon = path.find(':');
    std::string candidate(path.substr(0, colon));
    path.remove_prefix(colon == std::string_view::npos ? path.size() : colon + 1);
    if (candidate.empty()) continue;
    candidate += '/' + name;
    struct stat status {};
    if (::access(candidate.c_str(), X_OK) == 0 && ::stat(candidate.c_str(), &status) == 0 &&
        S_ISREG(status.st_mode)) {
      return candidate;
    }
  }
  return std::nullopt;
}

Subprocess::Subprocess(Command command) {
  const std::string name = command.program.empty() ? command.arguments.front() : command.program;
  std::vector<std::string> environment = changed_environment(command);
  const auto program = find_program(name, value_of(environment, "PATH"));
  if (!program) throw SystemError(ENOENT, fmt::format("starting {}, looked up in PATH", name));

  Pipe output = command.discards_output ? discarded() : make_pipe();
  Pipe error = command.error_file.empty() ? make_pipe() : into_file(command.error_file);
  Pipe report = make_pipe();
  const UniqueFd input = input_of(command);
  const std::vector<char*> arguments = pointers(command.arguments);
  const std::vector<char*> variables = pointers(environment);
  // Joining a mount namespace changes the root directory to that of the namespace.
  std::string directory = command.directory.string();
  if (directory.empty() && !command.namespaces.empty()) {
    directory = std::filesystem::current_path().string();
  }
  const Launch launch{program->c_str(),
                      arguments.data(),
                      variables.data(),
                      directory.empty() ? nullptr : directory.c_str(),
                      input.get(),
                      output.write.get(),
                      error.write.get(),
                      report.write.get(),
                      command.new_session,
                      command.ends_with_parent,
                      command.memory_limit,
                      command.namespaces.data(),
                      command.namespaces.size(),
                      ::getpid()};

  // No handler of this process may run in the child.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = ::fork();
  if (pid == 0) run_child(launch);
  const int reason_for_no_child = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) throw SystemError(reason_for_no_child, fmt::format("starting {}", name));

  const char* const line_ends = command.splits_at_carriage_returns ? "\r\n" : "\n";
  state_ = std::make_unique<State>(Stream(std::move(output.read), std::move(command.on_output_line),
                                          line_ends, command.output_limit, false),
                                   Stream(std::move(error.read), std::move(command.on_error_line),
                                          line_ends, command.error_limit, true));
  state_->pid = pid;
  output.write.reset();
  error.write.reset();
  report.write.reset();
  int reason = 0;
  ssize_t told = 0;
  do {
    told = ::read(report.read.get(), &reason, sizeof reason);
  } while (told < 0 && errno == EINTR);
  if (told == static_cast<ssize_t>(sizeof reason)) {
    state_->reap(0);
    if (reason == ENOMEM && !command.namespaces.empty()) {
      // The kernel's answer when a PID namespace has lost its first process.
      throw Error(fmt::format(
          "starting {}: the process that holds its namespaces was killed, or memory is short",
          name));
    }
    throw SystemError(reason, fmt::format("starting {}", name));
  }
#ifdef SYS_pidfd_open
  state_->pidfd.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U)));
#endif
}

Subprocess::~Subprocess() {
  if (!state_ || state_->ended) return;
  signal(SIGKILL);
  state_->reap(0);
}

Subprocess::Subprocess(Subprocess&&) noexcept = default;

Subprocess& Subprocess::operator=(Subprocess&& other) noexcept {
  // If an exception is thrown here, `gone` ends the child.
  const Subprocess gone(std::move(*this));
  state_ = std::move(other.state_);
  return *this;
}

pid_t Subprocess::pid() const noexcept {
  return state_->pid;
}
bool Subprocess::ended() const noexcept {
  return state_->ended;
}
const Exit& Subprocess::exit() const noexcept {
  return state_->exit;
}

void Subprocess::signal(int number) const noexcept {
  if (!state_->ended) ::kill(-state_->pid, number);
}

class SubprocessWait {
 public:
  explicit SubprocessWait(std::span<Subprocess* const> children) : children_(children) {}

  bool any_ended() const {
    return std::any_of(children_.begin(), children_.end(),
                       [](const Subprocess* child) { return child->ended(); });
  }

  Wake wait(int stop, std::optional<Clock::time_point> deadline) {
    while (!any_ended()) {
      collect_descriptors(stop);
      const int ready = ::poll(descriptors_.data(), static_cast<nfds_t>(descriptors_.size()),
                               milliseconds_to(deadline));
      if (ready < 0 && errno != EINTR) throw SystemError(errno, "waiting for a program");
      // Read the output before the exit status: it holds what was written before the end.
      for (Subprocess* child : children_) {
        auto& state = *child->state_;
        state.output.read_some(16);
        state.error.read_some(16);
        state.reap(WNOHANG);
        if (state.ended) state.finish();
      }
      if (any_ended()) break;
      if (stop >= 0 && descriptors_.front().revents != 0 && ready > 0) return Wake::stopped;
      if (deadline && Clock::now() >= *deadline) return Wake::timeout;
    }
    return Wake::ended;
  }

 private:
  void collect_descriptors(int stop) {
    descriptors_.clear();
    has_all_pidfds_ = true;
    if (stop >= 0) descriptors_.push_back({stop, POLLIN, 0});
    for (const Subprocess* child : children_) {
      const auto& state = *child->state_;
      if (state.output.open()) descriptors_.push_back({state.output.fd(), POLLIN, 0});
      if (state.error.open()) descriptors_.push_back({state.error.fd(), POLLIN, 0});
      if (state.pidfd) {
        descriptors_.push_back({state.pidfd.get(), POLLIN, 0});
      } else {
        has_all_pidfds_ = false;
      }
    }
  }

  int milliseconds_to(std::optional<Clock::time_point> deadline) const {
    std::chrono::milliseconds wait{-1};
    if (deadline) {
      wait = std::max(std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now()),
                      std::chrono::milliseconds(0));
    }
    if (!has_all_pidfds_ && (!deadline || wait > poll_interval)) wait = poll_interval;
    return static_cast<int>(std::min<std::chrono::milliseconds::rep>(wait.count(), 3'600'000));
  }

  std::span<Subprocess* const> children_;
  std::vector<pollfd> descriptors_;
  bool has_all_pidfds_ = true;
};

Wake wait_for_any(std::span<Subprocess* const> children, int stop,
                  std::optional<Clock::time_point> deadline) {
  return SubprocessWait(children).wait(stop, deadline);
}

Exit run(Command command) {
  Subprocess child(std::move(command));
  Subprocess* const children[] = {&child};
  wait_for_any(children, -1, std::nullopt);
  return child.exit();
}

}  // namespace nixbuild
