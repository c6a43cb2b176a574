// The store database under real writers: nix-store adds and deletes paths while processes of
// another user read. After a path was added it must be found, and after it was deleted it must not,
// both in fresh answers and in those cached by generation. Set NIXBUILD_STORE_TEST_SECONDS to test
// for longer and to see figures.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "../support/eventually.hpp"
#include "common/base/unique_fd.hpp"
#include "server/store/store_database.hpp"
#include "test_support.hpp"

using namespace nixbuild;
using namespace nixbuild::store;
using namespace nixbuild::store::test;
using namespace std::chrono_literals;

namespace {

using Clock = std::chrono::steady_clock;

constexpr uid_t nobody = 65534;
constexpr std::size_t slots = 4;

std::chrono::seconds duration() {
  const char* text = std::getenv("NIXBUILD_STORE_TEST_SECONDS");
  return std::chrono::seconds(text == nullptr ? 3 : std::atoi(text));
}

// Shared by writer and readers. A slot is a path; its phase is even while the path is certainly
// absent (4n) or certainly present (4n + 2), and odd while that changes.
struct Board {
  std::array<std::atomic<std::uint64_t>, slots> phase{};
  std::atomic<bool> stop{false};
  struct Count {
    std::atomic<std::uint64_t> queries{0};
    std::atomic<std::uint64_t> from_memory{0};
    std::atomic<std::uint64_t> present{0};
    std::atomic<std::uint64_t> unavailable{0};
    std::atomic<std::uint64_t> longest_wait_ms{0};
  } count;
  std::atomic<bool> failed{false};
  char failure[1000] = {};

  void fail(const std::string& what) {
    if (failed.exchange(true)) return;
    std::strncpy(failure, what.c_str(), sizeof(failure) - 1);
    stop = true;
  }
};

// Memory that child processes share.
class SharedBoard {
 public:
  SharedBoard()
      : board_(new(::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Board) {}
  ~SharedBoard() { ::munmap(board_, sizeof(Board)); }
  SharedBoard(const SharedBoard&) = delete;
  SharedBoard& operator=(const SharedBoard&) = delete;
  Board* operator->() { return board_; }
  Board& operator*() { return *board_; }

 private:
  Board* board_;
};

// A process that ends with this object. Forked children run `body` as nobody if that is allowed.
class Child {
 public:
  template <typename Body>
  static Child fork_as_nobody(Body&& body) {
    Child child;
    std::fflush(nullptr);
    child.pid_ = ::fork();
    if (child.pid_ == 0) {
      if (::geteuid() == 0 && (::setgid(nobody) != 0 || ::setuid(nobody) != 0)) ::_exit(3);
      body();
      ::_exit(0);
    }
    return child;
  }
  static Child start(const std::string& program) {
    Child child;
    std::fflush(nullptr);
    child.pid_ = ::fork();
    if (child.pid_ == 0) {
      const UniqueFd null(::open("/dev/null", O_RDWR));
      ::dup2(null.get(), 1);
      ::dup2(null.get(), 2);
      ::execlp(program.c_str(), program.c_str(), nullptr);
      ::_exit(127);
    }
    return child;
  }
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Child& operator=(Child&&) = delete;
  ~Child() {
    if (pid_ > 0) {
      ::kill(pid_, SIGTERM);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  int wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return status;
  }

 private:
  Child() = default;
  pid_t pid_ = -1;
};

// A separate store for real nix commands.
class RealStore {
 public:
  RealStore() {
    layout_.store_dir = nix::StoreDir((directory_.path() / "store").string());
    layout_.real_store_dir = directory_.path() / "store";
    layout_.nix_state_dir = directory_.path() / "var";
    fs::create_directories(directory_.path() / "etc");
    for (const auto& [name, value] : std::map<std::string, std::string>{
             {"NIX_STORE_DIR", "store"},
             {"NIX_STATE_DIR", "var"},
             {"NIX_LOG_DIR", "log"},
             {"NIX_CONF_DIR", "etc"},
             {"HOME", "home"},
         }) {
      ::setenv(name.c_str(), (directory_.path() / value).c_str(), 1);
    }
    write_through_daemon(false);
    ::setenv("NIX_CONFIG", "build-users-group =\nsandbox = false\nsubstitute = false", 1);
    for (std::size_t i = 0; i < slots; ++i) {
      write_text(file(i), "content of " + std::to_string(i));
      std::string path = run("nix-store --add " + file(i).string());
      path.pop_back();
      paths_.push_back(*layout_.store_dir.parse(path));
      remove(i);
    }
  }
  void write_through_daemon(bool yes) { ::setenv("NIX_REMOTE", yes ? "daemon" : "local", 1); }
  // Starts nix-daemon on this store and waits until it listens.
  Child start_daemon() const {
    Child daemon = Child::start("nix-daemon");
    REQUIRE(nixbuild::test::eventually(
        [&] { return fs::is_socket(layout_.nix_state_dir / "daemon-socket" / "socket"); }));
    return daemon;
  }
  const StoreLayout& layout() const { return layout_; }
  const nix::StorePath& path(std::size_t slot) const { return paths_[slot]; }
  void add(std::size_t slot) { run("nix-store --add " + file(slot).string() + " 2>&1"); }
  // Nix searches /proc for paths in use, and fails if other processes come and go there.
  void remove(std::size_t slot) {
    const std::string command =
        "nix-store --delete " + layout_.store_dir.print(paths_[slot]) + " 2>&1";
    for (int attempt = 1;; ++attempt) {
      try {
        run(command);
        return;
      } catch (const std::runtime_error&) {
        if (attempt == 5) throw;
      }
    }
  }

 private:
  fs::path file(std::size_t slot) const {
    return directory_.path() / ("file" + std::to_string(slot));
  }
  TemporaryDirectory directory_;
  StoreLayout layout_;
  std::vector<nix::StorePath> paths_;
};

// Asks for the slots' paths in turn and compares each answer with the board. After `lifetime`
// queries everything is opened again: 0 means never.
void read_slots(Board& board, const StoreLayout& layout, const std::vector<std::string>& hash_parts,
                std::uint64_t lifetime) {
  struct Kept {
    std::uint64_t generation = 0;
    bool present = false;
  };
  std::array<Kept, slots> kept{};
  auto database = std::make_unique<StoreDatabase>(std::make_shared<StoreAccess>(layout));
  auto waiting_since = Clock::now();
  for (std::uint64_t i = 0; !board.stop; ++i) {
    if (lifetime != 0 && i % lifetime == lifetime - 1) {
      database = std::make_unique<StoreDatabase>(std::make_shared<StoreAccess>(layout));
      kept = {};
    }
    const std::size_t slot = i % slots;
    const std::uint64_t phase = board.phase[slot];
    bool present = false;
    bool from_memory = false;
    try {
      const std::uint64_t generation = database->generation();
      if (generation == kept[slot].generation) {
        present = kept[slot].present;
        from_memory = true;
      } else {
        const auto info = database->query_path_info(hash_parts[slot]);
        present = info.has_value();
        if (present && info->nar_size != 128) board.fail("a torn row");
        kept[slot] = {generation, present};
      }
      waiting_since = Clock::now();
    } catch (const StoreUnavailable& error) {
      ++board.count.unavailable;
      const auto waited =
          std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - waiting_since);
      if (static_cast<std::uint64_t>(waited.count()) > board.count.longest_wait_ms) {
        board.count.longest_wait_ms = static_cast<std::uint64_t>(waited.count());
      }
      if (waited > 5s) board.fail(std::string("unavailable for 5 s: ") + error.what());
      std::this_thread::sleep_for(1ms);
      continue;
    } catch (const std::exception& error) {
      board.fail(std::string("an error: ") + error.what());
      return;
    }
    ++(from_memory ? board.count.from_memory : board.count.queries);
    if (present) ++board.count.present;
    const bool steady = phase % 2 == 0 && board.phase[slot] == phase;
    const bool expected = phase % 4 == 2;
    if (steady && present != expected) {
      board.fail(std::string("a stale answer, ") + (from_memory ? "kept" : "fresh") + ": slot " +
                 std::to_string(slot) + " is " + (expected ? "present" : "absent"));
    }
  }
}

void write_slots(Board& board, RealStore& store, bool daemon) {
  const auto end = Clock::now() + duration();
  std::uint64_t cycles = 0;
  for (; Clock::now() < end && !board.failed; ++cycles) {
    store.write_through_daemon(daemon && cycles % 2 == 0);
    for (std::size_t slot = 0; slot < slots; ++slot) {
      ++board.phase[slot];
      if (board.phase[slot] % 4 == 1) {
        store.add(slot);
      } else {
        store.remove(slot);
      }
      ++board.phase[slot];
      // Pause now and then, so that the database is idle.
      if ((cycles + slot) % 7 == 0) std::this_thread::sleep_for(60ms);
    }
  }
  board.stop = true;
  if (std::getenv("NIXBUILD_STORE_TEST_SECONDS") != nullptr) {
    std::printf(
        "%lu changes; %lu queries, %lu answers from memory, %lu present, %lu unavailable, "
        "longest wait %lu ms\n",
        cycles * slots, board.count.queries.load(), board.count.from_memory.load(),
        board.count.present.load(), board.count.unavailable.load(),
        board.count.longest_wait_ms.load());
  }
}

}  // namespace

TEST_CASE("real Nix writes, an unprivileged user reads: no error, nothing stale, nothing torn") {
  if (!have_program("nix-store") || !have_program("nix-daemon")) return;
  RealStore store;
  std::vector<std::string> hash_parts;
  for (std::size_t i = 0; i < slots; ++i)
    hash_parts.emplace_back(store.path(i).hash_part());

  std::vector<Child> daemon;
  std::uint64_t lifetime = 0;
  SUBCASE("without a daemon") {}
  SUBCASE("without a daemon, opened again and again") {
    lifetime = 20;
  }
  SUBCASE("with the daemon") {
    daemon.push_back(store.start_daemon());
  }
  SUBCASE("with the daemon, opened again and again") {
    daemon.push_back(store.start_daemon());
    lifetime = 200;
  }

  SharedBoard board;
  std::vector<Child> readers;
  for (int i = 0; i < 2; ++i) {
    readers.push_back(
        Child::fork_as_nobody([&] { read_slots(*board, store.layout(), hash_parts, lifetime); }));
  }
  write_slots(*board, store, !daemon.empty());
  for (Child& reader : readers)
    CHECK(reader.wait() == 0);
  CHECK_MESSAGE(!board->failed, board->failure);
  CHECK(board->count.queries > 0);
  CHECK(board->count.present > 0);
}

TEST_CASE("a row and its references are of one moment, whatever the log's state") {
  const TemporaryDirectory directory;
  WrittenDatabase written(directory.path());
  // Row 0 always has (its size modulo 8) references, and a hash of that digit.
  std::vector<std::int64_t> ids;
  for (std::uint64_t i = 0; i < 9; ++i)
    ids.push_back(written.add(hash_part_of(i)));
  const auto rewrite = [&](std::uint64_t round) {
    const std::string id = std::to_string(ids[0]);
    const std::uint64_t count = round % 8;
    std::string sql = "begin immediate; delete from Refs where referrer = " + id + ";";
    sql += "update ValidPaths set narSize = " + std::to_string(8 + count) +
           ", hash = 'sha256:" + std::string(64, static_cast<char>('0' + count)) +
           "' where id = " + id + ";";
    for (std::uint64_t i = 0; i < count; ++i) {
      sql += "insert into Refs values (" + id + "," + std::to_string(ids[i + 1]) + ");";
    }
    written.execute(sql + "commit");
  };
  rewrite(0);

  SharedBoard board;
  const auto read = [&](bool anew) {
    auto access = std::make_shared<StoreAccess>(written.layout());
    auto database = std::make_unique<StoreDatabase>(access);
    auto waiting_since = Clock::now();
    for (std::uint64_t i = 0; !board->stop; ++i) {
      if (anew && i % 10 == 9) {
        database.reset();
        access = std::make_shared<StoreAccess>(written.layout());
        database = std::make_unique<StoreDatabase>(access);
      }
      try {
        const auto info = database->query_path_info(hash_part_of(0));
        ++board->count.queries;
        if (!info) {
          board->fail("the row is gone");
        } else if (const auto count = info->nar_size % 8;
                   info->references.size() != count ||
                   info->nar_hash.base16()[0] != static_cast<char>('0' + count)) {
          board->fail("a torn read");
        }
        waiting_since = Clock::now();
      } catch (const StoreUnavailable& error) {
        ++board->count.unavailable;
        if (Clock::now() - waiting_since > 5s) board->fail(error.what());
        std::this_thread::sleep_for(1ms);
      } catch (const std::exception& error) {
        board->fail(error.what());
      }
    }
  };
  // SQLite must not be carried over a fork: the child would think that it holds our locks.
  written.close();
  std::vector<Child> readers;
  readers.push_back(Child::fork_as_nobody([&] { read(false); }));
  readers.push_back(Child::fork_as_nobody([&] { read(true); }));
  written.reopen();
  const auto end = Clock::now() + duration();
  for (std::uint64_t round = 0; Clock::now() < end && !board->failed; ++round) {
    rewrite(round);
    // What else writers do: restart the log, truncate it, rewrite the file, close and reopen it.
    if (round % 50 == 10) written.execute("pragma wal_checkpoint(restart)");
    if (round % 50 == 20) written.execute("pragma wal_checkpoint(truncate)");
    if (round % 500 == 30) written.execute("vacuum");
    if (round % 50 == 40) {
      written.close();
      if (round % 100 == 40) std::this_thread::sleep_for(30ms);
      written.reopen();
    }
  }
  board->stop = true;
  for (Child& reader : readers)
    CHECK(reader.wait() == 0);
  CHECK_MESSAGE(!board->failed, board->failure);
  CHECK(board->count.queries > 0);
  if (std::getenv("NIXBUILD_STORE_TEST_SECONDS") != nullptr) {
    std::printf("%lu queries, %lu unavailable\n", board->count.queries.load(),
                board->count.unavailable.load());
  }
}

TEST_CASE("our own lock keeps the log's files when the daemon and every writer are gone") {
  if (!have_program("nix-store") || !have_program("nix-daemon")) return;
  RealStore store;
  const fs::path log = store.layout().nix_state_dir / "db" / "db.sqlite-wal";
  SharedBoard board;
  std::atomic<std::uint64_t>& step = board->phase[0];
  // Reader and test take turns.
  const auto await = [&](std::uint64_t wanted) {
    for (int i = 0; i < 5000 && step < wanted; ++i)
      std::this_thread::sleep_for(1ms);
    return step == wanted;
  };
  Child reader = Child::fork_as_nobody([&] {
    StoreDatabase database(std::make_shared<StoreAccess>(store.layout()));
    for (std::uint64_t turn = 1; turn <= 7; turn += 2) {
      if (!await(turn)) board->fail("no turn");
      const auto query = [&] { return database.query_path_info(store.path(0).hash_part()); };
      // The daemon is asked within 0.1 s and answers within milliseconds. From then on the database
      // is always available.
      const auto helped = Clock::now() + 500ms;
      while (turn == 3 && Clock::now() < helped)
        patiently(query);
      const bool found = (turn <= 3 ? patiently(query) : query()).has_value();
      if (found != (turn == 5)) board->fail("turn " + std::to_string(turn));
      ++step;
    }
    await(9);
  });
  step = 1;  // without the daemon
  CHECK(await(2));
  {
    const Child daemon = store.start_daemon();
    step = 3;
    CHECK(await(4));
    // The daemon is asked within 0.1 s and answers within milliseconds.
    for (int i = 0; i < 5000 && !fs::exists(log); ++i)
      std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(200ms);
  }
  CHECK(fs::exists(log));
  store.add(0);
  CHECK(fs::exists(log));
  step = 5;
  CHECK(await(6));
  store.remove(0);
  CHECK(fs::exists(log));
  step = 7;
  CHECK(await(8));
  step = 9;
  CHECK(reader.wait() == 0);
  CHECK_MESSAGE(!board->failed, board->failure);
}
