#include "server/history/history.hpp"

#include <doctest/doctest.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "../support/temporary_directory.hpp"
#include "common/base/files.hpp"
#include "common/base/time.hpp"
#include "server/history/kept_text.hpp"

using namespace nixbuild;
using namespace nixbuild::history;
using protocol::BuildState;
using protocol::TargetResult;

namespace {

protocol::Time at(int seconds) {
  return protocol::Time(std::chrono::seconds(1'700'000'000 + seconds));
}

protocol::Time never_seen(std::int64_t) {
  return at(0);
}

void run_sql(const std::filesystem::path& file, const char* sql) {
  sqlite3* database = nullptr;
  REQUIRE(sqlite3_open(file.c_str(), &database) == SQLITE_OK);
  CHECK(sqlite3_exec(database, sql, nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(database);
}

}  // namespace

TEST_CASE("a trigger joins the build that is queued or running") {
  const test::TemporaryDirectory directory;
  History history(directory.path() / "h");
  const auto first = history.insert_queued({"a", "ann", "100.64.0.1"});
  CHECK(first.inserted);
  CHECK(history.insert_queued({"a", "bob", "100.64.0.2"}).id == first.id);
  CHECK_FALSE(history.insert_queued({"a", "bob", "100.64.0.2"}).inserted);
  CHECK(history.insert_queued({"b", "", ""}).inserted);

  CHECK(history.take_queued({"a", "", "command line"}) == first.id);
  history.set_running(first.id, at(0));
  CHECK(history.insert_queued({"a", "", ""}).id == first.id);
  history.finish(first.id, std::nullopt, now());
  CHECK(history.insert_queued({"a", "", ""}).inserted);

  const auto build = history.get(first.id);
  REQUIRE(build);
  CHECK(build->triggered_by == "ann");
  CHECK(build->triggered_from == "100.64.0.1");
  CHECK(build->state == BuildState::success);
  CHECK(build->start == at(0));
}

TEST_CASE("of many that trigger at once, one makes the build") {
  const test::TemporaryDirectory directory;
  { const History creates_the_file(directory.path() / "h"); }
  std::atomic<int> inserted = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      History history(directory.path() / "h");
      if (history.insert_queued({"a", "", ""}).inserted) ++inserted;
    });
  }
  for (auto& thread : threads)
    thread.join();
  CHECK(inserted == 1);
  CHECK(History(directory.path() / "h").list({"a", {}, {}}, 10, {}).builds.size() == 1);
}

TEST_CASE("many can open a new history at once") {
  const test::TemporaryDirectory directory;
  std::vector<std::thread> threads;
  std::atomic<int> opened = 0;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      History history(directory.path() / "h");
      static_cast<void>(history.current("a"));
      ++opened;
    });
  }
  for (auto& thread : threads)
    thread.join();
  CHECK(opened == 8);
}

TEST_CASE("a run by hand makes its own row and ends what was interrupted") {
  const test::TemporaryDirectory directory;
  History history(directory.path() / "h");
  const auto first = history.take_queued({"a", "root", "command line"});
  history.set_running(first, at(0));
  history.begin_phase(first, "fetch", at(0));
  const auto second = history.take_queued({"a", "root", "command line"});
  CHECK(second == first + 1);
  const auto build = history.get(first);
  CHECK(build->state == BuildState::failed);
  CHECK(build->error == "interrupted");
  CHECK(build->phases.at(0).finish.has_value());
}

TEST_CASE("what is written of a build is read back") {
  const test::TemporaryDirectory directory;
  History history(directory.path() / "h");
  const auto id = history.take_queued({"a", "", ""});
  history.set_running(id, at(0));
  history.set_commit(id, std::string(40, 'c'), "Subject 'quoted'", "Ann");
  history.begin_phase(id, "fetch", at(0));
  history.begin_phase(id, "build", at(2));
  history.set_lock(id, "{\"nodes\": {}}");
  protocol::Target good{"packages.x.good",
                        TargetResult::success,
                        "/nix/store/a.drv",
                        {{"out", "/nix/store/good", 12}, {"dev", "/nix/store/dev", 3}},
                        "",
                        {}};
  protocol::Target bad{"packages.x.bad",   TargetResult::failed,
                       "/nix/store/b.drv", {{"out", "/nix/store/bad", 0}},
                       "it broke",         {"one", "", "three"}};
  history.set_targets(id, {good, bad});
  history.set_targets(id, {good, bad});
  history.add_derivations(id, {{"/nix/store/a.drv", "a", at(2), 1500, false}});
  history.add_derivations(id, {{"/nix/store/b.drv", "b", at(3), 7, true}});
  history.finish(id, "1 of 2 targets failed", at(9));
  history.finish(id, std::nullopt, at(10));

  const auto build = history.get(id);
  REQUIRE(build);
  CHECK(build->state == BuildState::failed);
  CHECK(build->error == "1 of 2 targets failed");
  CHECK(build->commit_subject == "Subject 'quoted'");
  CHECK(build->has_lock);
  REQUIRE(build->phases.size() == 2);
  CHECK(build->phases[0].name == "fetch");
  CHECK(build->phases[0].finish == at(2));
  CHECK(build->phases[1].finish == at(9));
  REQUIRE(build->targets.size() == 2);
  CHECK(build->targets[0].outputs.size() == 2);
  CHECK(build->targets[0].outputs[0].nar_size == 12);
  CHECK(build->targets[1].log_tail == std::vector<std::string>{"one", "", "three"});
  REQUIRE(build->derivations.size() == 2);
  CHECK(build->derivations[0].milliseconds == 1500);
  CHECK(build->derivations[1].failed);
  CHECK(history.lock_text(id) == "{\"nodes\": {}}");
  CHECK(history.output_paths(id) == std::vector<std::string>{"/nix/store/dev", "/nix/store/good"});
  CHECK_FALSE(history.get(id + 1));
}

TEST_CASE("targets that were not reached end with the build") {
  const test::TemporaryDirectory directory;
  History history(directory.path() / "h");
  const auto id = history.take_queued({"a", "", ""});
  history.set_running(id, at(0));
  history.set_targets(id, {{"packages.x.good", TargetResult::pending, "", {}, "", {}}});
  history.finish(id, "interrupted", now());
  CHECK(history.get(id)->targets.at(0).result == TargetResult::failed);
  CHECK(history.get(id)->targets.at(0).error == "interrupted");
}

TEST_CASE("a cancelled build says so at once, and ends when its process has") {
  const test::TemporaryDirectory directory;
  History history(directory.path() / "h");
  const auto id = history.take_queued({"a", "", ""});
  history.set_running(id, at(0));
  CHECK(history.cancel(id));
  CHECK_FALSE(history.cancel(id));
  CHECK(history.get(id)->state == BuildState::cancelled);
  CHECK(history.get(id)->error == "cancelled");
  CHECK_FALSE(history.get(id)->finish);
  CHECK_FALSE(history.reconcile(
      "a", [] { return true; }, never_seen));

  // The next build need not wait for it.
  const auto next = history.insert_queued({"a", "", ""});
  CHECK(next.inserted);

  history.set_targets(id, {{"t.bad", TargetResult::failed, "", {}, "it broke", {}},
                           {"t.late", TargetResult::pending, "", {}, "", {}},
                           {"t.odd", TargetResult::skipped, "", {}, "unfree", {}}});
  history.finish(id, "build: whatever", at(7));
  const auto build = history.get(id);
  CHECK(build->state == BuildState::cancelled);
  CHECK(build->error == "cancelled");
  CHECK(build->finish == at(7));
  CHECK(build->targets.at(0).error == "it broke");
  CHECK(build->targets.at(1).error == "cancelled");
  CHECK(build->targets.at(1).result == TargetResult::failed);
  CHECK(build->targets.at(2).result == TargetResult::skipped);

  history.finish(next.id, "cancelled", now());
  CHECK(history.get(next.id)->state == BuildState::cancelled);
  CHECK_FALSE(history.cancel(next.id));
}

TEST_CASE("the end of a cancelled build whose process is gone is written down by others") {
  const test::TemporaryDirectory directory;
  History history(directory.path() / "h");
  const auto first = history.take_queued({"a", "", ""});
  history.set_running(first, at(0));
  history.cancel(first);
  CHECK(history.reconcile(
      "a", [] { return false; }, [](std::int64_t) { return at(5); }));
  CHECK(history.get(first)->state == BuildState::cancelled);
  CHECK(history.get(first)->finish == at(5));

  CHECK_FALSE(history.finish_cancelled("a"));
  const auto second = history.insert_queued({"a", "", ""}).id;
  history.cancel(second);
  CHECK(history.finish_cancelled("a"));
  CHECK(history.get(second)->finish);
  CHECK(history.take_queued({"a", "", ""}) > second);
}

TEST_CASE("a trigger joins a build until that begins to fetch; then one build follows") {
  const test::TemporaryDirectory directory;
  History history(directory.path() / "h");
  const auto running = history.take_queued({"a", "", "", "main"});
  CHECK(history.insert_queued({"a", "", "", "main"}).id == running);
  history.set_running(running, at(0));
  auto joined = history.insert_queued({"a", "", "", "main"});
  CHECK(joined.id == running);
  CHECK_FALSE(joined.inserted);
  CHECK_FALSE(joined.follow_up);

  history.begin_phase(running, "fetch", at(0));
  for (int i = 0; i < 3; ++i) {
    const auto late = history.insert_queued({"a", "ann", "", "main"});
    CHECK(late.id == running);
    CHECK_FALSE(late.inserted);
    CHECK(late.follow_up == running + 1);
  }
  REQUIRE(history.queued().size() == 1);
  CHECK(history.queued().front().triggered_by == "ann");
  CHECK(history.current("a")->id == running);
  CHECK_FALSE(history.insert_queued({"b", "", ""}).follow_up);

  history.finish(running, std::nullopt, now());
  CHECK(history.current("a")->id == running + 1);
  CHECK(history.insert_queued({"a", "", "", "main"}).id == running + 1);
  CHECK(history.take_queued({"a", "", "", "main"}) == running + 1);
}

TEST_CASE("a build has the branch that it is made of") {
  const test::TemporaryDirectory directory;
  History history(directory.path() / "h");
  const auto id = history.insert_queued({"a", "", "", "main"}).id;
  CHECK(history.get(id)->branch == "main");
  CHECK(history.take_queued({"a", "", "", "dev"}) == id);
  CHECK(history.get(id)->branch == "dev");
  history.finish(id, std::nullopt, now());
  CHECK_FALSE(history.get(history.insert_queued({"a", "", ""}).id)->branch);
}

TEST_CASE("every history has an id of its own") {
  const test::TemporaryDirectory directory;
  History history(directory.path() / "h");
  CHECK(history.id().size() == 32);
  CHECK(history.id().find_first_not_of("0123456789abcdef") == std::string::npos);
  CHECK(History(directory.path() / "h").id() == history.id());
  CHECK(History(directory.path() / "other").id() != history.id());
}

TEST_CASE("the list is newest first, in pages") {
  const test::TemporaryDirectory directory;
  History history(directory.path() / "h");
  for (int i = 0; i < 5; ++i) {
    for (const char* repository : {"a", "b"}) {
      history.finish(history.take_queued({repository, "", ""}), std::nullopt, now());
    }
  }
  const auto page = history.list({"a", {}, {}}, 2, {});
  REQUIRE(page.builds.size() == 2);
  CHECK(page.builds[0].id == 9);
  CHECK(page.next_before == 7);
  CHECK(history.list({"a", {}, {}}, 10, page.next_before).builds.size() == 3);
  CHECK_FALSE(history.list({"a", {}, {}}, 10, page.next_before).next_before);
  CHECK_FALSE(history.list({"a", {}, {}}, 3, page.next_before).next_before);
  CHECK(history.list({}, 100, {}).builds.size() == 10);
  CHECK(history.list({}, 100, {}).builds.front().repository == "b");
  CHECK(history.list({"a'; --", {}, {}}, 100, {}).builds.empty());
}

TEST_CASE("a list ends before it is large, and the rest follows") {
  const test::TemporaryDirectory directory;
  History history(directory.path() / "h");
  constexpr int builds = 400;
  for (int i = 0; i < builds; ++i) {
    history.finish(history.take_queued({"a", "", ""}), std::string(10'000, 'x'), now());
  }
  auto page = history.list({"a", {}, {}}, 1000, {});
  int seen = 0;
  int pages = 1;
  for (;; ++pages) {
    CHECK(page.builds.size() <= list_text_limit / build_error_limit);
    seen += static_cast<int>(page.builds.size());
    if (!page.next_before) break;
    page = history.list({"a", {}, {}}, 1000, page.next_before);
  }
  CHECK(seen == builds);
  CHECK(pages == 2);
}

TEST_CASE("the oldest builds go, those of other repositories and the running one stay") {
  const test::TemporaryDirectory directory;
  History history(directory.path() / "h");
  const auto other = history.take_queued({"b", "", ""});
  history.finish(other, std::nullopt, now());
  std::vector<std::int64_t> ids;
  for (int i = 0; i < 4; ++i) {
    ids.push_back(history.take_queued({"a", "", ""}));
    history.set_targets(ids.back(), {{"t", TargetResult::success, "", {{"out", "/p", 1}}, "", {}}});
    history.finish(ids.back(), std::nullopt, now());
  }
  const auto running = history.take_queued({"a", "", ""});
  CHECK(history.prune("a", 2) == std::vector<std::int64_t>{ids[1], ids[0]});
  CHECK(history.prune("a", 2).empty());
  CHECK_FALSE(history.get(ids[0]));
  CHECK(history.output_paths(ids[0]).empty());
  CHECK(history.get(running));
  CHECK(history.get(other));
}

TEST_CASE("the newest success of each target stays, whatever failed or was cancelled since") {
  const test::TemporaryDirectory directory;
  History history(directory.path() / "h");
  const auto build = [&](const char* branch, std::vector<protocol::Target> targets,
                         const std::optional<std::string>& error = std::nullopt) {
    const auto id = history.take_queued({"a", "", "", branch});
    history.set_targets(id, targets);
    history.finish(id, error, now());
    return id;
  };
  const protocol::Target one{"one", TargetResult::success, "", {}, "", {}};
  const protocol::Target two{"two", TargetResult::success, "", {}, "", {}};
  const protocol::Target bad{"two", TargetResult::failed, "", {}, "broken", {}};
  const auto old = build("main", {one, two});
  const auto only_two = build("main", {two});
  const auto dev = build("dev", {one});
  const auto newest_one = build("main", {one, bad}, "1 of 2 targets failed");
  std::vector<std::int64_t> failed;
  for (int i = 0; i < 4; ++i)
    failed.push_back(build("main", {bad}, "1 of 1 targets failed"));
  for (int i = 0; i < 20; ++i)
    build("main", {}, reason_cancelled);
  auto removed = history.prune("a", 2);
  CHECK(removed.size() == 1 + 2 + 18);
  CHECK_FALSE(history.get(old));
  CHECK(history.get(only_two));
  CHECK(history.get(dev));
  CHECK(history.get(newest_one));
  CHECK_FALSE(history.get(failed[1]));
  CHECK(history.get(failed[2]));
}

TEST_CASE("long texts are kept in part, so that a build stays small") {
  const test::TemporaryDirectory directory;
  History history(directory.path() / "h");
  const auto id = history.take_queued({"a", "", ""});
  history.set_commit(id, std::string(40, 'c'), std::string(1 << 20, 's'),
                     std::string(1 << 20, 'a'));
  std::vector<protocol::Target> targets(120);
  for (auto& target : targets) {
    target.name = "t";
    target.result = TargetResult::evaluation_failed;
    target.error = std::string(400'000, 'e');
    target.log_tail.assign(25, std::string(16'000, 'l'));
  }
  history.set_targets(id, targets);
  history.finish(id, std::string(1 << 20, 'x'), now());
  const auto build = history.get(id);
  std::size_t size =
      build->error->size() + build->commit_subject.size() + build->commit_author.size();
  for (const auto& target : build->targets) {
    CHECK(target.error.size() > 4000);
    size += target.error.size();
    for (const std::string& line : target.log_tail)
      size += line.size();
  }
  CHECK(size < (1 << 20) + 8192);
}

TEST_CASE("a running build without a process is ended, a queued one stays queued") {
  const test::TemporaryDirectory directory;
  History history(directory.path() / "h");
  const auto unlocked = [] { return false; };
  const auto locked = [] { return true; };
  const auto id = history.insert_queued({"a", "", ""}).id;
  CHECK_FALSE(history.reconcile("a", unlocked, never_seen));
  CHECK(history.get(id)->state == BuildState::queued);

  history.set_running(id, at(0));
  history.begin_phase(id, "fetch", at(0));
  const auto follow_up = history.insert_queued({"a", "", ""}).follow_up;
  CHECK_FALSE(history.reconcile("a", locked, never_seen));
  CHECK(history.reconcile("a", unlocked, [](std::int64_t) { return at(5); }));
  CHECK(history.get(id)->error == "interrupted");
  CHECK(history.get(id)->finish == at(5));
  CHECK_FALSE(history.reconcile("a", unlocked, never_seen));
  REQUIRE(follow_up);
  CHECK(history.current("a")->id == *follow_up);
}

TEST_CASE("the generation tells of one's own changes and of others'") {
  const test::TemporaryDirectory directory;
  History one(directory.path() / "h");
  History two(directory.path() / "h");
  const auto before = one.generation();
  CHECK(one.generation() == before);
  two.insert_queued({"a", "", ""});
  const auto after = one.generation();
  CHECK(after != before);
  CHECK(one.generation() == after);
  one.insert_queued({"b", "", ""});
  CHECK(one.generation() != after);
}

TEST_CASE("queued builds before another one") {
  const test::TemporaryDirectory directory;
  History history(directory.path() / "h");
  const auto a = history.insert_queued({"a", "", ""}).id;
  const auto b = history.insert_queued({"b", "", ""}).id;
  CHECK(history.queued_before(a).empty());
  REQUIRE(history.queued_before(b).size() == 1);
  history.set_running(a, now());
  CHECK(history.queued_before(b).empty());
  CHECK_THROWS_AS(history.set_running(a, now()), HistoryError);
}

TEST_CASE("what is no history is refused and left alone") {
  const test::TemporaryDirectory directory;
  write_file_atomic(directory.path() / "text", std::string(5000, 'x'), 0600);
  CHECK_THROWS_AS(History(directory.path() / "text"), HistoryError);
  CHECK(read_file(directory.path() / "text") == std::string(5000, 'x'));

  run_sql(directory.path() / "newer", "PRAGMA user_version = 99");
  CHECK_THROWS_WITH_AS(History(directory.path() / "newer"), doctest::Contains("version 99"),
                       HistoryError);
  CHECK_THROWS_AS(History(directory.path() / "absent" / "h"), HistoryError);
}

TEST_CASE("owner and group can write the history, whatever the umask") {
  const test::TemporaryDirectory directory;
  const mode_t before = ::umask(0077);
  const History history(directory.path() / "h");
  ::umask(before);
  for (const char* name : {"h", "h-wal", "h-shm"}) {
    CAPTURE(name);
    struct stat status {};
    REQUIRE(::stat((directory.path() / name).c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0660);
  }
}

TEST_CASE("the record of a build has what was built, and only that") {
  const test::TemporaryDirectory directory;
  const std::filesystem::path file = directory.path() / "history.sqlite";
  History history(file);
  const std::int64_t id = history.take_queued({"tools", "", "", "dev"});
  CHECK_FALSE(history.record(id));
  history.set_running(id, now());
  history.set_source(id, "https://example.org/tools", "dev");
  history.set_commit(id, std::string(40, 'c'), "Subject", "Ann");
  history.set_lock(id, "a lock");
  protocol::Target good;
  good.name = "packages.x";
  good.result = protocol::TargetResult::success;
  good.derivation = "/nix/store/00000000000000000000000000000000-x.drv";
  good.outputs = {{"out", "/nix/store/11111111111111111111111111111111-x", 7}};
  protocol::Target bad = good;
  bad.name = "packages.y";
  bad.result = protocol::TargetResult::failed;
  history.set_targets(id, {good, bad});
  CHECK_FALSE(history.record(id));
  history.finish(id, "1 of 2 targets failed", now());

  History reader(file, Access::read_only);
  const auto record = reader.record(id);
  REQUIRE(record);
  CHECK(record->history == history.id());
  CHECK(record->build == id);
  CHECK(record->url == "https://example.org/tools");
  CHECK(record->branch == "dev");
  CHECK(record->state == protocol::BuildState::failed);
  CHECK(record->commit == std::string(40, 'c'));
  CHECK(record->lock_sha256 == "10ab31347cb7b3a52d838420779a378fead3ce117f0363aa800bfc222132a635");
  REQUIRE(record->targets.size() == 1);
  CHECK(record->targets.front().name == "packages.x");
  CHECK(record->targets.front().outputs.front().path ==
        "/nix/store/11111111111111111111111111111111-x");
  CHECK_THROWS(reader.set_lock(id, "another"));
  CHECK_FALSE(reader.record(id + 1));
}

TEST_CASE("a build without a commit has no record") {
  const test::TemporaryDirectory directory;
  History history(directory.path() / "history.sqlite");
  const std::int64_t id = history.take_queued({"tools", "", ""});
  history.set_running(id, now());
  history.finish(id, "fetch: no such repository", now());
  CHECK_FALSE(history.record(id));
}
