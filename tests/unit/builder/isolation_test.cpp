#include "server/builder/isolation.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <string>
#include <thread>

#include "../support/skip.hpp"
#include "../support/temporary_directory.hpp"
#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/base/subprocess.hpp"
#include "server/builder/leftovers.hpp"
#include "server/history/state_layout.hpp"

namespace fs = std::filesystem;
using namespace nixbuild;
using namespace nixbuild::builder;
using nixbuild::history::StateLayout;

namespace {

struct Fixture {
  Fixture() {
    for (const char* name : {"state/repos/demo", "state/other", "keys", "home"}) {
      fs::create_directories(directory.path() / name);
    }
    for (const char* name :
         {"state/cache-key", "state/repos/demo/file", "keys/key", "home/key", "home/file"}) {
      write_file_atomic(directory.path() / name, "content", 0600);
    }
  }

  // Nothing if this system does not allow namespaces, as in some containers.
  std::optional<Isolation> isolate() const {
    const fs::path& root = directory.path();
#ifdef __SANITIZE_THREAD__
    // The sanitizer has a thread in every process, and processes with threads cannot join a user
    // namespace.
    test::skip("not with ThreadSanitizer");
    return std::nullopt;
#endif
    // unshare(1) decides, so that a failure of Isolation still fails the test.
    static const bool allowed =
        std::system("unshare --user --map-root-user --mount --pid --fork true") == 0;
    if (!allowed) {
      test::skip("no mount and PID namespaces here");
      return std::nullopt;
    }
    fs::create_directory(root / "tmp");
    View view;
    view.writable = {root / "state/repos/demo"};
    view.readable = {root / "home"};
    view.temporary = root / "tmp";
    view.hidden = {root / "keys/key", root / "home/key", root / "absent/key"};
    return Isolation(view);
  }

  Command shell(const Isolation& isolation, const std::string& script) const {
    Command command;
    command.arguments = {"/bin/sh", "-c", script};
    command.directory = directory.path();
    command.namespaces = isolation.namespaces();
    return command;
  }

  test::TemporaryDirectory directory;
};

bool exists(pid_t pid) {
  return ::kill(pid, 0) == 0;
}

}  // namespace

TEST_CASE("programs see what is named, and the system's directories") {
  const Fixture f;
  auto isolation = f.isolate();
  if (!isolation) return;
  const Exit exit = run(f.shell(*isolation,
                                "ls -A . state state/repos/demo; cat home/file; cat home/key; "
                                "echo new > state/repos/demo/made; cat keys/key; ls -A /; "
                                "ls -A /tmp; date > /dev/null"));
  CHECK(exit.output.starts_with(
      ".:\nhome\nstate\n\nstate:\nrepos\n\nstate/repos/demo:\nfile\ncontent"));
  CHECK(exit.output.find("contentcontent") == std::string::npos);
  for (const char* absent : {"\nroot\n", "\nsrv\n", "\nboot\n", "\nold\n", "\nnew\n"})
    CHECK(exit.output.find(absent) == std::string::npos);
  CHECK(exit.ok());
  CHECK(read_file(f.directory.path() / "state/repos/demo/made") == "new\n");
  CHECK(read_file(f.directory.path() / "home/key") == "content");
}

TEST_CASE("what is to be read only cannot be written, whoever runs the program") {
  const Fixture f;
  auto isolation = f.isolate();
  if (!isolation) return;
  for (const char* path : {"home/file", "home/new", "/usr/nixbuild-test", "/nixbuild-test",
                           "/etc/hosts", "/etc/new"}) {
    CAPTURE(path);
    const std::string script = std::string("echo x >> ") + path;
    CHECK_FALSE(run(f.shell(*isolation, script)).ok());
  }
  // Writes the same value back, in case this is possible.
  const char* setting = "/proc/sys/kernel/core_pattern";
  CHECK_FALSE(run(f.shell(*isolation, std::string("text=$(cat ") + setting +
                                          ") && echo \"$text\" > " + setting))
                  .ok());
}

TEST_CASE("nothing uncovers the rest of the system, not even as root") {
  const Fixture f;
  auto isolation = f.isolate();
  if (!isolation) return;
  const std::string key = (f.directory.path() / "keys/key").string();
  for (const char* script : {
           "umount -l / /tmp /usr /proc /dev 2>/dev/null; cat $KEY /old$KEY",
           "mount -o remount,rw / ; mount -o remount,rw,bind /usr; touch /usr/nixbuild-test",
           "unshare --user --map-root-user --mount sh -c 'umount -l /tmp; umount -l /; cat $KEY'",
           "unshare --mount sh -c 'umount -l /tmp; cat $KEY'",
           "nsenter --target 1 --mount cat $KEY",
           "cat /proc/*/root$KEY /proc/*/cwd$KEY",
           "mknod /tmp/disk b 8 0 && head -c 1 /tmp/disk",
           "chroot /proc/1/root cat $KEY",
           "cat ../../../../../../../..$KEY",
       }) {
    CAPTURE(script);
    Command command = f.shell(*isolation, std::string("{ ") + script + "; } | grep content");
    command.environment.emplace_back("KEY", key);
    CHECK(run(std::move(command)).output.empty());
  }
  CHECK_FALSE(fs::exists("/usr/nixbuild-test"));
}

TEST_CASE("the system's /proc is no way around") {
  const Fixture f;
  auto isolation = f.isolate();
  if (!isolation) return;
  const Exit exit = run(f.shell(*isolation,
                                "cat /proc/[0-9]*/root$PWD/keys/key; cat "
                                "/proc/[0-9]*/environ | tr '\\0' '\\n'"));
  CHECK(exit.output.find("content") == std::string::npos);
}

TEST_CASE("exit codes and signals come through") {
  const Fixture f;
  auto isolation = f.isolate();
  if (!isolation) return;
  CHECK(run(f.shell(*isolation, "exit 7")).code == 7);
  CHECK(run(f.shell(*isolation, "kill -9 $$")).signal == SIGKILL);
  Command missing = f.shell(*isolation, "");
  missing.arguments = {"/no/such/program"};
  CHECK_THROWS_AS(run(missing), SystemError);
}

TEST_CASE("a program that is asked to end may take its time") {
  const Fixture f;
  auto isolation = f.isolate();
  if (!isolation) return;
  Command command = f.shell(*isolation,
                            "trap 'sleep 0.2; echo cleaned up; exit 3' TERM; echo up; "
                            "while true; do sleep 0.05; done");
  bool is_up = false;
  std::string output;
  command.on_output_line = [&](std::string_view line) {
    is_up = true;
    output += line;
  };
  Subprocess child(std::move(command));
  Subprocess* const children[] = {&child};
  while (!is_up) {
    wait_for_any(children, -1, std::chrono::steady_clock::now() + std::chrono::milliseconds(10));
  }
  child.signal(SIGTERM);
  wait_for_any(children, -1, std::nullopt);
  CHECK(child.exit().code == 3);
  CHECK(output == "upcleaned up");
}

TEST_CASE("nothing outlives it, sessions of their own or not") {
  const Fixture f;
  auto isolation = f.isolate();
  if (!isolation) return;
  run(f.shell(*isolation,
              "setsid sh -c 'trap \"\" TERM; while true; do sleep 1; done' >/dev/null 2>&1 & "
              "sleep 0.1"));
  const auto left = descendants_of(::getpid());
  CHECK(left.size() >= 2);  // the first process and what was left
  isolation->end();
  for (const ProcessId& process : left)
    CHECK_FALSE(exists(process.pid));
}

TEST_CASE("descendants are found and ended without namespaces too") {
  become_subreaper();
  Command command;
  command.arguments = {"/bin/sh", "-c",
                       "setsid sh -c 'trap \"\" TERM; echo; while true; do sleep 1; done' & wait"};
  bool is_up = false;
  command.on_output_line = [&](std::string_view) { is_up = true; };
  {
    Subprocess child(std::move(command));
    Subprocess* const children[] = {&child};
    while (!is_up && !child.ended()) {
      wait_for_any(children, -1, std::chrono::steady_clock::now() + std::chrono::milliseconds(10));
    }
    // If it had ended first, the closed pipe would have ended the other one at its echo.
    CHECK_FALSE(child.ended());
  }
  const auto left = descendants_of(::getpid());
  CHECK_FALSE(left.empty());
  end_descendants(std::chrono::milliseconds(100));
  for (const ProcessId& process : left)
    CHECK_FALSE(exists(process.pid));
  CHECK(descendants_of(::getpid()).empty());
}

TEST_CASE("what a killed build left is found by its mark and by the record") {
  const test::TemporaryDirectory directory;
  const StateLayout layout(directory.path());
  layout.create();
  const auto [name, value] = environment_mark(layout, "demo");
  Command marked;
  marked.arguments = {"sleep", "1000"};
  marked.environment = {{name, value}};
  Command other = marked;
  other.environment = {{name, value + "x"}};
  Command unmarked = marked;
  unmarked.environment.clear();
  const Subprocess found(marked);
  const Subprocess recorded(unmarked);
  record_descendants(layout, "demo");
  const Subprocess stranger(other);
  const Subprocess later(unmarked);
  CHECK(kill_leftovers(layout, "demo") == 2);
  // They are dead children of this process.
  CHECK(descendants_of(::getpid()).size() == 2);
  CHECK(kill_leftovers(layout, "demo") == 0);
  CHECK(kill_leftovers(layout, "another") == 0);
}

TEST_CASE("a program that starts after its namespaces have ended says so") {
  const Fixture f;
  auto isolation = f.isolate();
  if (!isolation) return;
  // Whoever frees memory may choose this process; it is the only child here.
  const auto children = read_file(fmt::format("/proc/self/task/{}/children", ::getpid()));
  REQUIRE(children);
  const pid_t holder = std::stoi(*children);
  REQUIRE(::kill(holder, SIGKILL) == 0);
  siginfo_t ended;
  REQUIRE(::waitid(P_PID, static_cast<id_t>(holder), &ended, WEXITED | WNOWAIT) == 0);
  CHECK_THROWS_WITH_AS(run(f.shell(*isolation, "true")),
                       doctest::Contains("the process that holds its namespaces was killed"),
                       Error);
}
