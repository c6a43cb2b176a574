// Runs other programs from an argument vector, never through a shell.
//
// A child gets `input` or /dev/null as standard input, pipes or files as output and error, default
// signal handling, its own process group or session, and no other descriptors.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nixbuild {

struct Command {
  std::vector<std::string> arguments;  // the first is a path, or a name looked up in PATH
  std::string program;                 // empty: the first argument
  std::filesystem::path directory;     // empty: this process's
  // Changes to this process's environment; a variable without a value is removed. If a variable is
  // changed twice, the first change counts.
  std::vector<std::pair<std::string, std::optional<std::string>>> environment;

  // Its standard input.
  std::optional<std::string> input;

  // Called with each line as it arrives, without its line end. Lines longer than 1 MiB are
  // shortened: the first MiB and the last `line_tail` bytes are passed as one line. Without a
  // function, the output is collected in Exit.
  std::function<void(std::string_view line)> on_output_line;
  std::function<void(std::string_view line)> on_error_line;
  // Treat a carriage return as a line end too, and keep it in the line: programs use it to
  // overwrite progress.
  bool splits_at_carriage_returns = false;
  // Limits of Exit, in bytes: it keeps the beginning of the output and the end of the error.
  std::size_t output_limit = std::size_t{64} << 20;
  std::size_t error_limit = std::size_t{1} << 20;

  // For a child that outlives this process. Redirected output is not in Exit.
  bool new_session = false;
  bool discards_output = false;
  // Receives standard error. Created or truncated with mode 0640; a symbolic link is an error.
  std::filesystem::path error_file;

  // Linux only.
  bool ends_with_parent = false;  // send SIGTERM when the thread that started it ends
  // Memory that it and each of its children may allocate, in bytes (RLIMIT_DATA); 0: no change.
  std::uint64_t memory_limit = 0;
  // Descriptors of the namespaces to join, in this order, a user namespace first. The program gets
  // no privilege in them to mount, trace or administer.
  std::vector<int> namespaces;
};

constexpr std::size_t line_limit = std::size_t{1} << 20;
constexpr std::size_t line_tail = 256;

struct Exit {
  int code = 0;    // 128 + signal if a signal ended it, as in shells
  int signal = 0;  // the signal that ended it
  std::string output;
  std::string error;
  bool output_cut = false;  // the limit was exceeded

  bool ok() const noexcept { return code == 0; }
  std::string reason() const;  // "exit code 1", "killed by signal 9"
};

class Subprocess {
 public:
  // Starts the program. Throws SystemError if it cannot be started.
  explicit Subprocess(Command command);
  // Kills the child if it still runs, but not the processes that it has started.
  ~Subprocess();
  Subprocess(Subprocess&&) noexcept;
  Subprocess& operator=(Subprocess&&) noexcept;

  pid_t pid() const noexcept;
  bool ended() const noexcept;
  const Exit& exit() const noexcept;  // once it has ended
  // Sends a signal to the child's process group.
  void signal(int number) const noexcept;

 private:
  friend class SubprocessWait;
  struct State;
  std::unique_ptr<State> state_;
};

enum class Wake { ended, stopped, timeout };

// Reads the output of the children until one of them ends (returns at once if one has already),
// `stop` becomes readable (-1: never), or the deadline passes.
Wake wait_for_any(std::span<Subprocess* const> children, int stop,
                  std::optional<std::chrono::steady_clock::time_point> deadline);

// Runs one program to its end. For short commands that need not be interrupted.
Exit run(Command command);

// The first program `name` in `path`, a list like PATH; nothing if there is none. A name with a
// slash is returned as it is.
std::optional<std::string> find_program(const std::string& name, std::string_view path);

}  // namespace nixbuild
