#include "server/history/status_file.hpp"

#include <doctest/doctest.h>

#include "../support/temporary_directory.hpp"
#include "common/base/files.hpp"
#include "common/base/time.hpp"
#include "server/history/build_lock.hpp"
#include "server/history/history.hpp"
#include "server/history/state_layout.hpp"

using namespace nixbuild;
using namespace nixbuild::history;

namespace {

struct Fixture {
  Fixture() : layout(directory.path() / "state"), history((layout.create(), layout.history())) {}

  void show(std::int64_t id, const std::string& phase) const {
    protocol::BuildStatus status;
    status.is_running = true;
    status.repository = "a";
    status.build_id = id;
    status.phase = phase;
    status.progress.built = 3;
    status.progress.running.push_back({"/nix/store/x.drv", "x", "", now()});
    write_status(layout, status);
  }

  test::TemporaryDirectory directory;
  StateLayout layout;
  History history;
};

}  // namespace

TEST_CASE("the status from the first trigger to the end of the build") {
  Fixture f;
  StatusReader reader(f.layout, f.history, "a");
  auto status = reader.read();
  CHECK_FALSE(status.is_running);
  CHECK_FALSE(status.build_id);
  CHECK_FALSE(status.last_start);
  CHECK(status.phase.empty());

  const auto id = f.history.insert_queued({"a", "", ""}).id;
  status = reader.read();
  CHECK(status.is_running);
  CHECK(status.phase == "queued");
  CHECK(status.build_id == id);
  CHECK(status.last_start);

  const auto lock = FileLock::try_take(f.layout.lock("a"));
  f.history.take_queued({"a", "", ""});
  f.history.set_running(id, now());
  f.show(id, "build");
  status = reader.read();
  CHECK(status.is_running);
  CHECK(status.phase == "build");
  CHECK(status.progress.built == 3);
  CHECK(status.progress.running.size() == 1);
  CHECK_FALSE(status.last_finish);
  CHECK_FALSE(status.last_status);
  CHECK_FALSE(status.last_commit);

  f.history.set_commit(id, std::string(40, 'a'), "", "");
  f.history.set_targets(
      id, {{"t", protocol::TargetResult::success, "", {{"out", "/nix/store/x", 1}}, "", {}}});
  CHECK_FALSE(reader.read().last_commit);
  f.history.finish(id, std::nullopt, now());
  status = reader.read();
  CHECK_FALSE(status.is_running);
  CHECK(status.phase == "done");
  CHECK(status.last_status == protocol::BuildResult::success);
  CHECK(status.last_commit == std::string(40, 'a'));
  CHECK(status.last_finish);
  CHECK(status.outputs == std::vector<std::string>{"/nix/store/x"});
  CHECK(status.progress.running.empty());
  CHECK(status.progress.built == 3);

  // The next build starts without an end.
  f.history.insert_queued({"a", "", ""});
  status = reader.read();
  CHECK(status.is_running);
  CHECK_FALSE(status.last_status);
  CHECK_FALSE(status.last_commit);
  CHECK(status.progress.built == 0);
}

TEST_CASE("a build whose process is gone reads failed") {
  Fixture f;
  StatusReader reader(f.layout, f.history, "a");
  const auto id = f.history.take_queued({"a", "", ""});
  f.history.set_running(id, now());
  f.show(id, "evaluate");
  const auto status = reader.read();
  CHECK_FALSE(status.is_running);
  CHECK(status.last_status == protocol::BuildResult::failed);
  CHECK(status.error == "interrupted");
  CHECK(f.history.get(id)->state == protocol::BuildState::failed);
  CHECK(f.history.insert_queued({"a", "", ""}).inserted);
}

TEST_CASE("a status file that makes no sense is not trusted") {
  Fixture f;
  StatusReader reader(f.layout, f.history, "a");
  const auto id = f.history.take_queued({"a", "", ""});
  f.history.set_running(id, now());
  const auto lock = FileLock::try_take(f.layout.lock("a"));
  f.show(id + 7, "build");
  CHECK(reader.read().phase == "fetch");
  write_file_atomic(f.layout.status("a"), "{\"is_running\": tr", 0600);
  CHECK(reader.read().phase == "fetch");
  CHECK(reader.read().is_running);
}

TEST_CASE("the generation changes with the answer") {
  Fixture f;
  StatusReader reader(f.layout, f.history, "a");
  static_cast<void>(reader.read());
  auto last = reader.generation();
  CHECK(reader.generation() == last);
  const auto changed = [&] {
    const auto next = reader.generation();
    return std::exchange(last, next) != next;
  };
  History other(f.layout.history());
  const auto id = other.take_queued({"a", "", ""});
  CHECK(changed());
  auto lock = FileLock::try_take(f.layout.lock("a"));
  CHECK(changed());
  f.show(id, "fetch");
  CHECK(changed());
  f.show(id, "build");
  CHECK(changed());
  lock.reset();
  CHECK(changed());
  CHECK_FALSE(changed());
}
