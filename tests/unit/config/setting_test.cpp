#include "common/config/setting.hpp"

#include <doctest/doctest.h>

#include "common/base/error.hpp"

using namespace nixbuild;
using namespace nixbuild::config;

TEST_CASE("sizes are whole numbers with a binary suffix") {
  CHECK(parse_size("0") == 0);
  CHECK(parse_size("4096") == 4096);
  CHECK(parse_size("1K") == 1024);
  CHECK(parse_size("20G") == std::uint64_t{20} << 30);
  CHECK(parse_size("16777215T") == std::uint64_t{16777215} << 40);
  for (const char* bad : {"", "G", "-1", "+1", "1.5G", "1g", "1GB", " 1", "1 ", "16777216T",
                          "18446744073709551616", "0x10"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(parse_size(bad), UsageError);
  }
}

TEST_CASE("a size is shown in the shortest form that reads back the same") {
  for (const std::uint64_t bytes :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1023}, std::uint64_t{1024},
        std::uint64_t{1536}, std::uint64_t{20} << 30, ~std::uint64_t{0}}) {
    CHECK(parse_size(format_size(bytes)) == bytes);
  }
  CHECK(format_size(std::uint64_t{20} << 30) == "20G");
  CHECK(format_size(1536) == "1536");
}

TEST_CASE("flag, variable and key follow from table and key") {
  std::uint64_t size = 0;
  std::string text;
  Settings settings;
  settings.add("state_dir", text, "DIR", "").table("cache").add_size("nar_cache_size", size, "");
  CHECK(settings.all()[0].flag() == "--state-dir");
  CHECK(settings.all()[0].environment() == "NIXBUILD_STATE_DIR");
  CHECK(settings.all()[0].full_key() == "state_dir");
  CHECK(settings.all()[1].flag() == "--nar-cache-size");
  CHECK(settings.all()[1].environment() == "NIXBUILD_CACHE_NAR_CACHE_SIZE");
  CHECK(settings.all()[1].full_key() == "cache.nar_cache_size");
}

TEST_CASE("numbers are whole and within their range") {
  int number = 5;
  Settings settings;
  settings.add("n", number, 1, 100, "");
  const auto assign = [&](const std::string& text) { settings.all()[0].assign({text}); };
  assign("1");
  CHECK(number == 1);
  assign("100");
  CHECK(number == 100);
  for (const char* bad : {"", "0", "101", "-5", "abc", "7x", " 7", "99999999999999999999"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(assign(bad), UsageError);
    CHECK(number == 100);
  }
}

TEST_CASE("a choice is one of its words") {
  enum class Fruit { apple, pear };
  Fruit fruit = Fruit::pear;
  Settings settings;
  settings.add_choice("fruit", fruit, {{"apple", Fruit::apple}, {"pear", Fruit::pear}}, "");
  CHECK(settings.all()[0].value_name == "apple|pear");
  CHECK(settings.all()[0].show() == "\"pear\"");
  settings.all()[0].assign({"apple"});
  CHECK(fruit == Fruit::apple);
  CHECK_THROWS_WITH_AS(settings.all()[0].assign({"plum"}),
                       "'plum': one of apple, pear was expected", UsageError);
}

TEST_CASE("text is shown as TOML reads it") {
  std::string text = "a\"b\\c\n";
  Settings settings;
  settings.add("t", text, "TEXT", "");
  CHECK(settings.all()[0].show() == R"("a\"b\\c\u000a")");
}
