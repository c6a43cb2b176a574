#include <doctest/doctest.h>

#include "common/nix/hash.hpp"
#include "common/nix/nar.hpp"
#include "support.hpp"

using namespace nixbuild::nix;
using namespace nixbuild::nix::test;

TEST_CASE("a NAR is put together from its words") {
  std::string nar;
  nar_framing::magic(nar);
  nar_framing::begin_directory(nar);
  nar_framing::begin_entry(nar, "a");
  nar_framing::begin_file(nar, false, 5);
  nar += "hello";
  nar_framing::end_file(nar, 5);
  nar_framing::end_entry(nar);
  nar_framing::begin_entry(nar, "b");
  nar_framing::begin_file(nar, true, 8);
  nar += "12345678";
  nar_framing::end_file(nar, 8);
  nar_framing::end_entry(nar);
  nar_framing::begin_entry(nar, "c");
  nar_framing::symlink(nar, "../target");
  nar_framing::end_entry(nar);
  nar_framing::end_directory(nar);

  CHECK(nar == nar_words("nix-archive-1", "(", "type", "directory", "entry", "(", "name", "a",
                         "node", "(", "type", "regular", "contents", "hello", ")", ")", "entry",
                         "(", "name", "b", "node", "(", "type", "regular", "executable", "",
                         "contents", "12345678", ")", ")", "entry", "(", "name", "c", "node", "(",
                         "type", "symlink", "target", "../target", ")", ")", ")"));
  // `nix-store --dump | sha256sum` of that directory.
  CHECK(sha256(nar).base16() == "6e9c07b05b613c12dd911ba76ce6fabcc48be954d0b5c579ff0a15be88a725e5");
}

TEST_CASE("a NAR's numbers are 64 bits wide, least significant byte first") {
  std::string nar;
  nar_framing::begin_file(nar, false, 0x0102030405060708);
  CHECK(nar.substr(nar.size() - 8) == "\x08\x07\x06\x05\x04\x03\x02\x01");
}
