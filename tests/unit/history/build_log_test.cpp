#include "server/history/build_log.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>

#include "../support/temporary_directory.hpp"
#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/base/unique_fd.hpp"
#include "server/history/log_file.hpp"

using namespace nixbuild;
using namespace nixbuild::history;

namespace {

struct Lines {
  std::vector<std::string> lines;
  std::uint64_t end = 0;  // where the next line begins
};

LogFile open_log(const std::filesystem::path& file) {
  return LogFile(UniqueFd(::open(file.c_str(), O_RDONLY | O_CLOEXEC)));
}

// Reads as clients do: a piece at a time.
Lines lines_of(const LogFile& log, LogFile::Range range) {
  Lines lines{{}, range.begin};
  for (;;) {
    const std::string text = log.read_lines(lines.end, 0, range.end);
    if (text.empty()) return lines;
    CHECK(text.size() <= 2 * max_line_length);
    lines.end += text.size();
    for (std::string_view rest = text; !rest.empty(); rest.remove_prefix(rest.find('\n') + 1))
      lines.lines.emplace_back(rest.substr(0, rest.find('\n')));
  }
}

Lines read_log_tail(const std::filesystem::path& file, std::size_t lines) {
  const LogFile log = open_log(file);
  return lines_of(log, log.tail(lines));
}

Lines read_log_from(const std::filesystem::path& file, std::uint64_t offset) {
  return lines_of(open_log(file), {offset, UINT64_MAX});
}

}  // namespace

TEST_CASE("a line is made fit to be read") {
  CHECK(clean_line("plain\ttab") == "plain\ttab");
  CHECK(clean_line("") == "");
  CHECK(clean_line("windows\r") == "windows");
  CHECK(clean_line("10%\r50%\r100%") == "100%");
  CHECK(clean_line("\x1b[31;1mred\x1b[0m") == "red");
  CHECK(clean_line("\x1b]0;title\atext") == "text");
  CHECK(clean_line("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\") == "link");
  CHECK(clean_line("\x1b(Btext") == "text");
  CHECK(clean_line("cut \x1b[3") == "cut ");
  CHECK(clean_line("\x1b") == "");
  CHECK(clean_line(std::string_view("a\0b\x07\x7f", 5)) == "ab");
  CHECK(clean_line("gr\xc3\xbc\xc3\x9f \xe2\x9c\x93 \xf0\x9f\x8e\x89") ==
        "gr\xc3\xbc\xc3\x9f \xe2\x9c\x93 \xf0\x9f\x8e\x89");
}

TEST_CASE("what is no UTF-8 is replaced, byte by byte") {
  const std::string r = "\xef\xbf\xbd";
  CHECK(clean_line("\xff") == r);
  CHECK(clean_line("a\xc3") == "a" + r);
  CHECK(clean_line("\xc0\xaf") == r + r);          // overlong
  CHECK(clean_line("\xed\xa0\x80") == r + r + r);  // a surrogate
  CHECK(clean_line("\xf4\x90\x80\x80") == r + r + r + r);
  CHECK(clean_line("\xe2\x9c") == r + r);
  CHECK(clean_line("\xc2\x9b"
                   "31m") == "31m");  // a control character beyond ASCII
}

TEST_CASE("a line has a bound") {
  const std::string line = clean_line(std::string(1'000'000, '\xff'));
  CHECK(line.size() <= max_line_length + 8);
  CHECK(line.ends_with("\xe2\x80\xa6"));
}

TEST_CASE("the log's end is read from the end") {
  const test::TemporaryDirectory directory;
  const auto file = directory.path() / "l";
  {
    BuildLog log(file);
    CHECK(read_log_tail(file, 10).lines.empty());
    for (int i = 0; i < 50'000; ++i)
      log.append(fmt::format("line {}", i));
    log.close();
  }
  const auto tail = read_log_tail(file, 3);
  CHECK(tail.lines == std::vector<std::string>{"line 49997", "line 49998", "line 49999"});
  CHECK(tail.end == std::filesystem::file_size(file));
  const auto all = read_log_tail(file, 100'000);
  CHECK(all.lines.size() == 50'000);
  CHECK(all.lines.front() == "line 0");
  CHECK(read_log_tail(file, 0).lines.empty());
  for (const std::size_t wanted : {1U, 100U, 5000U, 10'000U}) {
    const auto some = read_log_tail(file, wanted);
    REQUIRE(some.lines.size() == wanted);
    CHECK(some.lines.front() == fmt::format("line {}", 50'000 - wanted));
  }
}

TEST_CASE("of very long lines fewer are read than asked for") {
  const test::TemporaryDirectory directory;
  const auto file = directory.path() / "l";
  std::string text;
  for (int i = 0; i < 2000; ++i)
    text += fmt::format("{:016000}\n", i);
  write_file_atomic(file, text, 0600);
  const auto tail = read_log_tail(file, 10'000);
  CHECK(tail.lines.size() > 400);
  CHECK(tail.lines.size() < 600);
  CHECK(tail.lines.front() == fmt::format("{:016000}", 2000 - tail.lines.size()));
  CHECK(tail.lines.back() == fmt::format("{:016000}", 1999));
}

TEST_CASE("a line still being written is left for later") {
  const test::TemporaryDirectory directory;
  const auto file = directory.path() / "l";
  write_file_atomic(file, "one\ntwo\nthr", 0600);
  const auto tail = read_log_tail(file, 10);
  CHECK(tail.lines == std::vector<std::string>{"one", "two"});
  CHECK(tail.end == 8);
  CHECK(read_log_tail(file, 2).lines == std::vector<std::string>{"one", "two"});
  write_file_atomic(file, "one\ntwo\nthree\n\nfive\n", 0600);
  const auto next = read_log_from(file, tail.end);
  CHECK(next.lines == std::vector<std::string>{"three", "", "five"});
  CHECK(next.end == std::filesystem::file_size(file));
  CHECK(read_log_from(file, next.end).lines.empty());
  for (const std::uint64_t beyond : {std::uint64_t{100'000}, UINT64_MAX / 2, UINT64_MAX}) {
    CHECK(read_log_from(file, beyond).end == beyond);
    CHECK(read_log_from(file, beyond).lines.empty());
  }
}

TEST_CASE("a log that is too long keeps its beginning and its end") {
  const test::TemporaryDirectory directory;
  const auto file = directory.path() / "l";
  BuildLog log(file, 4 << 20);
  for (int i = 0; i < 100'000; ++i)
    log.append(fmt::format("{:0100}", i));
  log.close();
  log.append("too late");
  CHECK(std::filesystem::file_size(file) < (6 << 20));
  CHECK(read_log_tail(file, 1).lines.front() == fmt::format("{:0100}", 99'999));
  const auto content = *read_file(file);
  CHECK(content.starts_with(fmt::format("{:0100}\n{:0100}\n", 0, 1)));
  CHECK(content.find("longer than 4 MiB") != std::string::npos);
  CHECK(content.find(" left out]") != std::string::npos);
  CHECK(content.find("too late") == std::string::npos);
}

TEST_CASE("what is appended is there once flushed, also while the log is too long") {
  const test::TemporaryDirectory directory;
  const auto file = directory.path() / "l";
  BuildLog log(file, 10);
  log.append("one");
  CHECK(std::filesystem::file_size(file) == 0);
  log.flush();
  CHECK(read_log_tail(file, 1).lines.front() == "one");
  log.append("two is too long");
  log.append("x");
  log.flush();
  log.close();
  CHECK(read_log_tail(file, 2).lines == std::vector<std::string>{"two is too long", "x"});
}

TEST_CASE("a full disk is told") {
  BuildLog log("/dev/full");
  log.append("x");
  CHECK_THROWS_AS(log.flush(), SystemError);
  CHECK_THROWS_AS(log.close(), SystemError);
  log.append("dropped");
  log.flush();
}
