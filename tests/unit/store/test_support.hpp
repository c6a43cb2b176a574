// Shared by the tests of the store: temporary directories, running programs, databases as Nix
// creates them.
#pragma once

#include <sqlite3.h>
#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "../support/temporary_directory.hpp"
#include "server/store/store_layout.hpp"
#include "server/store/store_unavailable.hpp"

namespace nixbuild::store::test {

namespace fs = std::filesystem;

using nixbuild::test::TemporaryDirectory;

void write_text(const fs::path& file, std::string_view content);

// The standard output of a shell command, which must succeed.
std::string run(const std::string& command);
// Whether a program of that name is in PATH; if not, the calling test is skipped.
bool have_program(const std::string& name);

// Calls `body` until it no longer throws StoreUnavailable, for at most five seconds, as a server
// does.
template <typename Body>
auto patiently(Body&& body) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  for (;;) {
    try {
      return body();
    } catch (const StoreUnavailable&) {
      if (std::chrono::steady_clock::now() > deadline) throw;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// A store database with Nix's schema 10 in <directory>/var/db, and a connection that writes to it.
class WrittenDatabase {
 public:
  explicit WrittenDatabase(const fs::path& directory, const std::string& journal_mode = "wal");
  ~WrittenDatabase();
  WrittenDatabase(const WrittenDatabase&) = delete;
  WrittenDatabase& operator=(const WrittenDatabase&) = delete;

  StoreLayout layout() const;
  const fs::path& file() const noexcept { return file_; }
  void execute(const std::string& sql);
  void close();
  void reopen();

  // Inserts a row with that hash part and a NAR hash of 64 times `digit`. Returns its id.
  std::int64_t add(const std::string& hash_part, char digit = '0', const std::string& name = "x");

 private:
  fs::path directory_;
  fs::path file_;
  sqlite3* handle_ = nullptr;
};

// 32 characters of base-32 made from a number.
std::string hash_part_of(std::uint64_t number);

}  // namespace nixbuild::store::test
