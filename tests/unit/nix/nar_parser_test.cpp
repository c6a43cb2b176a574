#include <doctest/doctest.h>

#include <utility>

#include "common/base/error.hpp"
#include "common/nix/nar.hpp"
#include "support.hpp"

using namespace nixbuild;
using namespace nixbuild::nix;
using namespace nixbuild::nix::test;

namespace {

// Records the events, with contents joined whatever their pieces.
class Recorder : public NarEvents {
 public:
  void begin_file(bool executable, std::uint64_t size, std::uint64_t offset) override {
    log += (executable ? "executable " : "file ") + std::to_string(size) + "@" +
           std::to_string(offset) + "[";
  }
  void file_content(std::string_view bytes) override {
    CHECK_FALSE(bytes.empty());
    log += bytes;
  }
  void end_file() override { log += "] "; }
  void symlink(std::string_view target) override { log += "-> " + std::string(target) + " "; }
  void begin_directory() override { log += "{ "; }
  void begin_entry(std::string_view name) override { log += std::string(name) + ": "; }
  void end_entry() override { log += "; "; }
  void end_directory() override { log += "} "; }

  std::string log;
};

std::string events_of(std::string_view nar, std::size_t piece = std::string_view::npos) {
  Recorder recorder;
  parse(nar, recorder, piece);
  return recorder.log;
}

std::string error_of(std::string_view nar, std::size_t piece = std::string_view::npos) {
  Recorder recorder;
  try {
    parse(nar, recorder, piece);
  } catch (const FormatError& error) {
    return error.what();
  }
  return "";
}

const std::string magic = nar_word("nix-archive-1");
const std::string empty_file = nar_words("(", "type", "regular", "contents", "", ")");

std::string entry(std::string_view name, const std::string& node = empty_file) {
  return nar_words("entry", "(", "name", name, "node") + node + nar_word(")");
}
std::string directory(const std::string& entries) {
  return nar_words("(", "type", "directory") + entries + nar_word(")");
}
std::string symlink(std::string_view target) {
  return nar_words("(", "type", "symlink", "target", target, ")");
}

const std::string sample =
    magic +
    directory(entry("a", nar_words("(", "type", "regular", "contents", "hello", ")")) +
              entry("b", nar_words("(", "type", "regular", "executable", "", "contents", "12345678",
                                   ")")) +
              entry("c", directory("")) + entry("d", empty_file) + entry("e", symlink("a/b")));

}  // namespace

TEST_CASE("a NAR is reported in order, contents with their offsets") {
  const std::string events = events_of(sample);
  CHECK(events ==
        "{ a: file 5@232[hello] ; b: executable 8@456[12345678] ; c: { } ; "
        "d: file 0@816[] ; e: -> a/b ; } ");
  CHECK(sample.substr(232, 5) == "hello");
  CHECK(sample.substr(456, 8) == "12345678");
  CHECK(events_of(magic + symlink("x")) == "-> x ");
  CHECK(events_of(magic + empty_file) == "file 0@96[] ");
}

TEST_CASE("how a NAR is cut into pieces makes no difference") {
  const std::string whole = events_of(sample);
  for (std::size_t piece = 1; piece <= 33; ++piece) {
    CAPTURE(piece);
    CHECK(events_of(sample, piece) == whole);
  }
  // No way of cutting the input hides an error, or changes its message.
  std::string bad = sample;
  bad[sample.size() - 8] = '(';
  for (std::size_t piece = 1; piece <= 33; ++piece)
    CHECK(error_of(bad, piece) == error_of(bad));
}

TEST_CASE("a NAR that ends early is not complete, wherever it ends") {
  for (std::size_t size = 0; size < sample.size(); ++size) {
    CAPTURE(size);
    CHECK(error_of(sample.substr(0, size))
              .starts_with("the NAR ends at byte " + std::to_string(size)));
  }
}

TEST_CASE("every single wrong byte of the framing is noticed") {
  std::size_t unnoticed = 0;
  for (std::size_t i = 0; i < sample.size(); ++i) {
    std::string changed = sample;
    changed[i] = static_cast<char>(changed[i] ^ 0x20);
    if (error_of(changed).empty()) ++unnoticed;
  }
  // These may change: each byte of the contents and the target, and the name a, as A is in order
  // too.
  CHECK(unnoticed == 5 + 8 + 3 + 1);
}

TEST_CASE("what is wrong is said with its place") {
  CHECK(error_of(nar_word("nix-archive-2")) ==
        "byte 0 of the NAR: expected 'nix-archive-1', found \"nix-archive-2\"");
  CHECK(error_of(sample + "x") == "byte " + std::to_string(sample.size()) +
                                      " of the NAR: expected nothing more, found more "
                                      "bytes");
  CHECK(error_of(magic + nar_words("(", "type", "fifo")) ==
        "byte 56 of the NAR: expected 'regular', 'symlink' or 'directory', found \"fifo\"");
  CHECK(error_of(magic + nar_words("(", "type", "regular", "executable", "x")) ==
        "byte 96 of the NAR: expected an empty text behind 'executable', found \"x\"");
}

TEST_CASE("texts longer than they may be are refused before they are read") {
  const std::string huge = "\xff\xff\xff\xff\xff\xff\xff\xff";
  const std::string one_more("\x00\x01\x00\x00\x00\x00\x00\x00", 8);  // 256
  CHECK_FALSE(error_of(huge).empty());
  CHECK_FALSE(error_of(magic + huge).empty());
  CHECK_FALSE(error_of(magic + nar_words("(", "type", "directory", "entry", "(", "name") + one_more)
                  .empty());
  CHECK_FALSE(error_of(magic + nar_words("(", "type", "symlink", "target") + huge).empty());
  CHECK_FALSE(error_of(magic + nar_words("(", "type", "regular", "contents") + huge).empty());
  CHECK(error_of(magic + directory(entry(std::string(nar_name_limit, 'n')))).empty());
  CHECK_FALSE(error_of(magic + directory(entry(std::string(nar_name_limit + 1, 'n')))).empty());
  CHECK(error_of(magic + symlink(std::string(nar_target_limit, 't'))).empty());
  CHECK_FALSE(error_of(magic + symlink(std::string(nar_target_limit + 1, 't'))).empty());
}

TEST_CASE("names that could leave the directory, and targets that are none, are refused") {
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("a/b"), std::string("/"),
        std::string("../x"), std::string("a\0b", 3), std::string("\0", 1)}) {
    CAPTURE(name);
    CHECK_FALSE(error_of(magic + directory(entry(name))).empty());
  }
  for (const std::string name : {"...", "..a", " ", "\xff"})
    CHECK(error_of(magic + directory(entry(name))).empty());
  CHECK_FALSE(error_of(magic + symlink("")).empty());
  CHECK_FALSE(error_of(magic + symlink(std::string_view("a\0b", 3))).empty());
}

TEST_CASE("entries must be sorted by their bytes, each there once") {
  const auto pair = [](std::string_view a, std::string_view b) {
    return error_of(magic + directory(entry(a) + entry(b)));
  };
  CHECK(pair("a", "b").empty());
  CHECK(pair("a", "a.b").empty());
  CHECK(pair("Z", "a").empty());
  CHECK(pair("a", "\xc3").empty());  // bytes are unsigned
  CHECK(pair("b", "a").find("not sorted") != std::string::npos);
  CHECK(pair("a", "a").find("not sorted") != std::string::npos);
  CHECK(pair("\xc3", "a").find("not sorted") != std::string::npos);
  // Each directory has its own order.
  CHECK(error_of(magic + directory(entry("b", directory(entry("a"))) + entry("c"))).empty());
  CHECK_FALSE(error_of(magic + directory(entry("b", directory(entry("z"))) + entry("a"))).empty());
}

TEST_CASE("padding must be zero") {
  std::string nar = magic + nar_words("(", "type", "regular", "contents", "hello", ")");
  const std::size_t content = nar.find("hello");
  nar[content + 7] = 'x';
  CHECK(error_of(nar).find("padding") != std::string::npos);
  CHECK(error_of(nar, 1) == error_of(nar));
  nar[content + 7] = '\0';
  CHECK(error_of(nar).empty());
  std::string name = magic;
  name[23] = 'x';
  CHECK(error_of(name) == "byte 0 of the NAR: its padding is not zero");
}

TEST_CASE("fields come in one order, each once") {
  for (const std::string& node :
       {nar_words("(", "type", "regular", ")"), nar_words("(", "contents", "", ")"),
        nar_words("(", "type", "regular", "contents", "", "contents", "", ")"),
        nar_words("(", "type", "regular", "contents", "", "executable", "", ")"),
        nar_words("(", "type", "regular", "type", "regular", "contents", "", ")"),
        nar_words("(", "type", "symlink", ")"), nar_words("(", ")"),
        nar_words("(", "type", "symlink", "target", "a", "target", "b", ")"),
        nar_words("(", "type", "directory", "entry", "(", "node"),
        nar_words("(", "type", "directory", "entry", "(", "name", "a", ")"),
        nar_words("(", "type", "directory", "contents", "", ")")}) {
    CAPTURE(node);
    CHECK_FALSE(error_of(magic + node).empty());
  }
}

TEST_CASE("depth is bounded") {
  const auto nested = [](std::size_t depth) {
    std::string nar = magic;
    const std::string open = nar_words("(", "type", "directory", "entry", "(", "name", "d", "node");
    for (std::size_t i = 1; i < depth; ++i)
      nar += open;
    nar += directory("");
    for (std::size_t i = 1; i < depth; ++i)
      nar += nar_words(")", ")");
    return nar;
  };
  CHECK(error_of(nested(nar_depth_limit)).empty());
  CHECK(error_of(nested(nar_depth_limit + 1)).find("directories deep") != std::string::npos);
  CHECK(listing_of(nested(nar_depth_limit)).entries.size() == 1);
}

TEST_CASE("a parser that failed takes nothing more, and can be moved") {
  Recorder recorder;
  NarParser parser(recorder);
  CHECK_THROWS_AS(parser.feed(std::string(8, '\xff')), FormatError);
  CHECK_THROWS_AS(parser.feed(sample), FormatError);
  CHECK_THROWS_AS(parser.finish(), FormatError);

  NarParser first(recorder);
  first.feed(sample.substr(0, 100));
  NarParser second = std::move(first);
  second.feed(sample.substr(100));
  second.finish();
  CHECK(recorder.log == events_of(sample));
}
