#include "test_support.hpp"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <stdexcept>

#include "../support/skip.hpp"

namespace nixbuild::store::test {

void write_text(const fs::path& file, std::string_view content) {
  std::ofstream(file, std::ios::binary) << content;
}

std::string run(const std::string& command) {
  FILE* pipe = ::popen(command.c_str(), "re");
  if (pipe == nullptr) throw std::runtime_error("popen failed");
  std::string output;
  std::array<char, 65536> buffer;
  while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    output.append(buffer.data(), count);
  }
  if (::pclose(pipe) != 0) throw std::runtime_error("failed: " + command + "\n" + output);
  return output;
}

bool have_program(const std::string& name) {
  if (std::system(("command -v " + name + " >/dev/null").c_str()) == 0) return true;
  nixbuild::test::skip("no " + name + " in PATH");
  return false;
}

namespace {

constexpr const char* schema = R"(
create table ValidPaths (
  id integer primary key autoincrement not null, path text unique not null, hash text not null,
  registrationTime integer not null, deriver text, narSize integer, ultimate integer, sigs text,
  ca text);
create table Refs (
  referrer integer not null, reference integer not null, primary key (referrer, reference),
  foreign key (referrer) references ValidPaths(id) on delete cascade,
  foreign key (reference) references ValidPaths(id) on delete restrict);
create index IndexReferrer on Refs(referrer);
create index IndexReference on Refs(reference);
)";

}  // namespace

WrittenDatabase::WrittenDatabase(const fs::path& directory, const std::string& journal_mode)
    : directory_(directory), file_(directory / "var" / "db" / "db.sqlite") {
  fs::create_directories(file_.parent_path());
  reopen();
  execute("pragma synchronous = off");
  execute("pragma journal_mode = " + journal_mode);
  execute(schema);
  write_text(file_.parent_path() / "schema", "10");
}

WrittenDatabase::~WrittenDatabase() {
  close();
}

StoreLayout WrittenDatabase::layout() const {
  StoreLayout layout;
  layout.real_store_dir = directory_ / "store";
  layout.nix_state_dir = directory_ / "var";
  return layout;
}

void WrittenDatabase::execute(const std::string& sql) {
  char* message = nullptr;
  if (sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, &message) != SQLITE_OK) {
    const std::string text = message == nullptr ? "unknown" : message;
    sqlite3_free(message);
    throw std::runtime_error("writing the test's database: " + text);
  }
}

void WrittenDatabase::close() {
  sqlite3_close(handle_);
  handle_ = nullptr;
}

void WrittenDatabase::reopen() {
  close();
  if (sqlite3_open(file_.c_str(), &handle_) != SQLITE_OK) {
    throw std::runtime_error("opening the test's database");
  }
  sqlite3_busy_timeout(handle_, 5000);
}

std::int64_t WrittenDatabase::add(const std::string& hash_part, char digit,
                                  const std::string& name) {
  execute("insert into ValidPaths (path, hash, registrationTime, narSize) values ('/nix/store/" +
          hash_part + "-" + name + "', 'sha256:" + std::string(64, digit) + "', 1, 120)");
  return sqlite3_last_insert_rowid(handle_);
}

std::string hash_part_of(std::uint64_t number) {
  constexpr std::string_view alphabet = "0123456789abcdfghijklmnpqrsvwxyz";
  std::string text(32, '0');
  for (std::size_t i = 32; i-- > 0 && number > 0; number /= 32)
    text[i] = alphabet[number % 32];
  return text;
}

}  // namespace nixbuild::store::test
