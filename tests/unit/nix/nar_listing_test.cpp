#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "common/nix/nar.hpp"
#include "common/nix/text.hpp"
#include "support.hpp"

namespace fs = std::filesystem;
using namespace nixbuild::nix;
using namespace nixbuild::nix::test;
using nlohmann::json;

TEST_CASE("a listing has each kind of node") {
  const TemporaryDirectory directory;
  write(directory.path() / "file", "12345");
  write(directory.path() / "run", "", true);
  fs::create_symlink("file", directory.path() / "link");
  fs::create_directory(directory.path() / "none");
  CHECK(render_nar_listing(list_nar_of(directory.path())) ==
        R"({"root":{"entries":{)"
        R"("file":{"narOffset":232,"size":5,"type":"regular"},)"
        R"("link":{"target":"file","type":"symlink"},)"
        R"("none":{"entries":{},"type":"directory"},)"
        R"("run":{"executable":true,"narOffset":816,"size":0,"type":"regular"})"
        R"(},"type":"directory"},"version":1})");
  CHECK(render_nar_listing(list_nar_of(directory.path() / "file")) ==
        R"({"root":{"narOffset":96,"size":5,"type":"regular"},"version":1})");
  CHECK(render_nar_listing(list_nar_of(directory.path() / "link")) ==
        R"({"root":{"target":"file","type":"symlink"},"version":1})");
}

TEST_CASE("offsets are where the contents lie") {
  const TemporaryDirectory directory;
  fs::create_directories(directory.path() / "a/b");
  write(directory.path() / "a/b/one", "content one");
  write(directory.path() / "a/two", "content two", true);
  write(directory.path() / "z", "content three");
  const std::string nar = dump(directory.path());
  const NarListing root = list_nar_of(directory.path());
  const NarListing& a = root.entries.at("a");
  CHECK(nar.substr(a.entries.at("b").entries.at("one").nar_offset, 11) == "content one");
  CHECK(nar.substr(a.entries.at("two").nar_offset, 11) == "content two");
  CHECK(nar.substr(root.entries.at("z").nar_offset, 13) == "content three");
}

TEST_CASE("a listing is JSON whatever bytes its names hold") {
  const TemporaryDirectory directory;
  write(directory.path() / "bad\xff\xfename", "");
  write(directory.path() / "line\nquote\"\\\x01\x7f", "");
  fs::create_symlink("\xc3", directory.path() / "link");
  const json listing = json::parse(render_nar_listing(list_nar_of(directory.path())));
  const json& entries = listing.at("root").at("entries");
  CHECK(entries.contains("bad\uFFFD\uFFFDname"));
  CHECK(entries.contains("line\nquote\"\\\x01\x7f"));
  CHECK(entries.at("link").at("target") == "\uFFFD");
}

TEST_CASE("JSON strings are those of a JSON library") {
  const auto render = [](std::string_view text) {
    std::string out;
    append_json_string(out, text);
    return out;
  };
  std::string text;
  for (int c = 0; c < 128; ++c)
    text += static_cast<char>(c);
  text += "\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff";
  CHECK(render(text) == json(text).dump());
  CHECK(render("") == "\"\"");
  // One U+FFFD for each byte that is not part of a valid sequence.
  const auto replaced = [](std::size_t count) {
    std::string out = "\"";
    for (std::size_t i = 0; i < count; ++i)
      out += "\uFFFD";
    return out + "x\"";
  };
  CHECK(render("\x80x") == replaced(1));
  CHECK(render("\xc0\x80x") == replaced(2));          // overlong
  CHECK(render("\xe0\x9f\xbfx") == replaced(3));      // overlong
  CHECK(render("\xed\xa0\x80x") == replaced(3));      // surrogate
  CHECK(render("\xf0\x8f\xbf\xbfx") == replaced(4));  // overlong
  CHECK(render("\xf4\x90\x80\x80x") == replaced(4));  // above U+10FFFF
  CHECK(render("\xf5\x80\x80\x80x") == replaced(4));
  CHECK(render("\xe2\x82x") == replaced(2));  // cut short
  CHECK(render("\xe2\x82") == "\"\uFFFD\uFFFD\"");
}

TEST_CASE("text for messages is quoted and cut") {
  CHECK(printable("a\n\xff") == "\"a\\n\uFFFD\"");
  CHECK(printable(std::string(80, 'x')) == '"' + std::string(80, 'x') + '"');
  CHECK(printable(std::string(81, 'x')) == '"' + std::string(80, 'x') + "\"…");
}
