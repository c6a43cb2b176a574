#include "common/base/subprocess.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>

#include "../support/temporary_directory.hpp"
#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/base/unique_fd.hpp"

using namespace nixbuild;
using namespace std::chrono_literals;

namespace {

Command shell(const std::string& script) {
  Command command;
  command.arguments = {"/bin/sh", "-c", script};
  return command;
}

}  // namespace

TEST_CASE("a program's output, error and exit code") {
  const Exit exit = run(shell("echo out; echo err >&2; exit 3"));
  CHECK(exit.output == "out\n");
  CHECK(exit.error == "err\n");
  CHECK(exit.code == 3);
  CHECK_FALSE(exit.ok());
  CHECK(exit.reason() == "exit code 3");
  const Exit killed = run(shell("kill -9 $$"));
  CHECK(killed.code == 137);
  CHECK(killed.reason() == "killed by signal 9");
}

TEST_CASE("arguments reach the program as they are") {
  Command command;
  command.arguments = {"printf", "%s|", "$(id)", "a b", "", "'\"\\", "-n"};
  CHECK(run(command).output == "$(id)|a b||'\"\\|-n|");
}

TEST_CASE("directory, environment and input") {
  Command command = shell("pwd; echo $ADDED; echo ${HOME-unset}; cat; echo $OLD");
  ::setenv("OLD", "old", 1);
  command.directory = "/usr";
  command.environment = {{"ADDED", "it's"}, {"HOME", std::nullopt}, {"OLD", "new"}};
  CHECK(run(command).output == "/usr\nit's\nunset\nnew\n");
}

TEST_CASE("what cannot be started says why") {
  Command command;
  command.arguments = {"no-such-program-anywhere"};
  CHECK_THROWS_WITH_AS(run(command), doctest::Contains("no-such-program-anywhere"), SystemError);
  command.arguments = {"/etc/passwd"};
  CHECK_THROWS_AS(run(command), SystemError);
  command = shell("true");
  command.directory = "/no/such/directory";
  CHECK_THROWS_AS(run(command), SystemError);
}

TEST_CASE("lines come as they are written, the last one without an end too") {
  std::vector<std::string> lines;
  std::vector<std::string> errors;
  Command command = shell("echo one; echo; printf 'three'; echo e >&2");
  command.on_output_line = [&](std::string_view line) { lines.emplace_back(line); };
  command.on_error_line = [&](std::string_view line) { errors.emplace_back(line); };
  CHECK(run(command).output.empty());
  CHECK(lines == std::vector<std::string>{"one", "", "three"});
  CHECK(errors == std::vector<std::string>{"e"});
}

TEST_CASE("a carriage return can end a line, too, and is kept") {
  std::vector<std::string> lines;
  Command command = shell("printf '10%%\\r20%%\\r30%%, done\\nlast\\r' >&2");
  command.splits_at_carriage_returns = true;
  command.on_error_line = [&](std::string_view line) { lines.emplace_back(line); };
  run(command);
  CHECK(lines == std::vector<std::string>{"10%\r", "20%\r", "30%, done", "last\r"});
}

TEST_CASE("an overlong line comes once, without its middle") {
  std::vector<std::string> lines;
  Command command = shell("echo first; head -c 20000000 /dev/zero; echo end; echo last");
  command.on_output_line = [&](std::string_view line) { lines.emplace_back(line); };
  run(command);
  REQUIRE(lines.size() == 3);
  CHECK(lines[0] == "first");
  CHECK(lines[1].size() == line_limit + line_tail);
  CHECK(lines[1].ends_with(std::string(line_tail - 3, '\0') + "end"));
  CHECK(lines[2] == "last");

  lines.clear();
  Command unended = shell("head -c 3000000 /dev/zero; printf end");
  unended.on_output_line = [&](std::string_view line) { lines.emplace_back(line); };
  run(unended);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].size() == line_limit + line_tail);
  CHECK(lines[0].ends_with("end"));
}

TEST_CASE("a program reads its input, however long") {
  Command command = shell("cat");
  CHECK(run(command).output.empty());
  command.input = "one\ntwo";
  CHECK(run(command).output == "one\ntwo");
  command.input = std::string(3'000'000, 'x');
  CHECK(run(command).output == *command.input);
}

TEST_CASE("what is collected is bounded: the beginning of output, the end of errors") {
  Command command = shell("for i in 1 2 3 4 5 6 7 8 9; do echo $i; echo $i >&2; done");
  command.output_limit = 4;
  command.error_limit = 4;
  const Exit exit = run(command);
  CHECK(exit.output == "1\n2\n");
  CHECK(exit.output_cut);
  CHECK(exit.error.ends_with("8\n9\n"));
  CHECK(exit.error.size() <= 8);
}

#ifdef __linux__
TEST_CASE("a program and its children may allocate so much") {
  Command command = shell("sh -c 'ulimit -S -d; ulimit -H -d'");
  command.memory_limit = std::uint64_t{64} << 20;
  CHECK(run(std::move(command)).output == "65536\n65536\n");
}
#endif

TEST_CASE("descriptors of this process do not reach the program") {
  // Without close-on-exec, as if another library had opened it.
  const UniqueFd leaked(::open("/dev/null", O_RDONLY));
  REQUIRE(leaked);
  CHECK(run(shell("ls /proc/self/fd | wc -l")).output == "4\n");  // one belongs to ls
}

TEST_CASE("a program starts with default signal handling") {
  ::signal(SIGPIPE, SIG_IGN);
  const Exit exit = run(shell("kill -PIPE $$; echo alive"));
  ::signal(SIGPIPE, SIG_DFL);
  CHECK(exit.signal == SIGPIPE);
}

TEST_CASE("what a program leaves behind with its output open is not waited for") {
  const auto begin = std::chrono::steady_clock::now();
  CHECK(run(shell("sleep 20 & echo started")).output == "started\n");
  CHECK(std::chrono::steady_clock::now() - begin < 10s);
}

TEST_CASE("a child that outlives its parent writes elsewhere, in a session of its own") {
  const test::TemporaryDirectory directory;
  const auto file = directory.path() / "error";
  Command command;
  command.program = "sh";
  command.arguments = {"named", "-c",
                       "echo out; echo \"$0\" >&2; [ \"$(ps -o sid= -p $$)\" -eq $$ ]", "x"};
  command.new_session = true;
  command.discards_output = true;
  command.error_file = file;
  const Exit exit = run(command);
  CHECK(exit.code == 0);
  CHECK(exit.output.empty());
  CHECK(exit.error.empty());
  CHECK(read_file(file) == "x\n");

  std::filesystem::create_symlink(file, directory.path() / "link");
  command.error_file = directory.path() / "link";
  CHECK_THROWS_AS(run(command), SystemError);
  CHECK(read_file(file) == "x\n");
}

TEST_CASE("waiting ends with a child, a deadline or the stop") {
  Subprocess slow(shell("sleep 30"));
  Subprocess quick(shell("exit 5"));
  const std::array<Subprocess*, 2> both = {&slow, &quick};
  CHECK(wait_for_any(both, -1, std::nullopt) == Wake::ended);
  CHECK(quick.ended());
  CHECK_FALSE(slow.ended());

  const std::array<Subprocess*, 1> one = {&slow};
  const auto soon = std::chrono::steady_clock::now() + 50ms;
  CHECK(wait_for_any(one, -1, soon) == Wake::timeout);

  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  const UniqueFd read_end(pipe[0]);
  const UniqueFd write_end(pipe[1]);
  REQUIRE(::write(write_end.get(), "x", 1) == 1);
  CHECK(wait_for_any(one, read_end.get(), std::nullopt) == Wake::stopped);

  slow.signal(SIGTERM);
  CHECK(wait_for_any(one, -1, std::nullopt) == Wake::ended);
  CHECK(slow.exit().signal == SIGTERM);
}

TEST_CASE("a child ends with the object that stands for it") {
  pid_t pid = 0;
  {
    const Subprocess child(shell("sleep 30"));
    pid = child.pid();
    CHECK(::kill(pid, 0) == 0);
  }
  CHECK(::kill(pid, 0) != 0);
  Subprocess first(shell("sleep 30"));
  pid = first.pid();
  first = Subprocess(shell("true"));
  CHECK(::kill(pid, 0) != 0);
}

TEST_CASE("programs are looked up in PATH") {
  CHECK(find_program("sh", "/no:/bin") == "/bin/sh");
  CHECK(find_program("sh", "/no:") == std::nullopt);
  CHECK(find_program("./sh", "/bin") == "./sh");
  CHECK(find_program("bin", "/") == std::nullopt);  // a directory
}
