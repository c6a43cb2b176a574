// Running other programs: from an argument vector, never through a shell.
//
// A child gets `input` or /dev/null as its input, pipes as output and error (or files), default
// signal handling, a process group or session of its own, and no descriptor beside these three.
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
  std::string program;                 // empty: that of the first argument
  std::filesystem::path directory;     // empty: that of this process
  // Changes to this process's environment; nothing for a value removes the variable. Of two changes
  // to one variable the first counts.
  std::vector<std::pair<std::string, std::optional<std::string>>> environment;

  // What it reads from its standard input.
  std::optional<std::string> input;

  // Called with each line, without its end, as it comes. Of a line longer than 1 MiB, the middle is
  // left out: the first MiB and the last `line_tail` bytes come as one line. What has no function
  // is collected in Exit instead.
  std::function<void(std::string_view line)> on_output_line;
  std::function<void(std::string_view line)> on_error_line;
  // A carriage return ends a line as well, and is part of it: programs overwrite progress.
  bool splits_at_carriage_returns = false;
  // What Exit holds at most, in bytes: of the output the beginning, of the error the end.
  std::size_t output_limit = std::size_t{64} << 20;
  std::size_t error_limit = std::size_t{1} << 20;

  // For a child that outlives this process. Output that goes elsewhere is not in Exit.
  bool new_session = false;
  bool discards_output = false;
  // Gets the error output. Created or emptied, mode 0640; a symbolic link there is an error.
  std::filesystem::path error_file;

  // Linux only.
  bool ends_with_parent = false;  // it gets SIGTERM when the thread that started it ends
  // What it and each of its children may allocate, in bytes (RLIMIT_DATA); 0: as this process.
  std::uint64_t memory_limit = 0;
  // Descriptors of namespaces that it joins, in this order, a user namespace first. In there it has
  // no privilege to mount, trace, or administer.
  std::vector<int> namespaces;
};

constexpr std::size_t line_limit = std::size_t{1} << 20;
constexpr std::size_t line_tail = 256;

struct Exit {
  int code = 0;    // 128 + signal where a signal ended it, as shells have it
  int signal = 0;  // that ended it
  std::string output;
  std::string error;
  bool output_cut = false;  // there was more of it

  bool ok() const noexcept { return code == 0; }
  std::string reason() const;  // "exit code 1", "killed by signal 9"
};

class Subprocess {
 public:
  // Starts the program. Throws SystemError when it cannot be started.
  explicit Subprocess(Command command);
  // Kills the child where it still runs. What it has started itself lives on.
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

// Reads what the children write, until one of them has ended (at once where one has ended already),
// `stop` becomes readable (-1: never), or the deadline has passed.
Wake wait_for_any(std::span<Subprocess* const> children, int stop,
                  std::optional<std::chrono::steady_clock::time_point> deadline);

// Runs one program to its end. For short commands that need no stopping.
Exit run(Command command);

// The first program `name` in `path`, which is like PATH; nothing when there is none. A name with a
// slash is itself.
std::optional<std::string> find_program(const std::string& name, std::string_view path);

}  // namespace nixbuild
