#include "server/history/kept_text.hpp"

#include <doctest/doctest.h>

using namespace nixbuild;
using namespace nixbuild::history;

namespace {

protocol::Target with_text(std::size_t error, std::vector<std::string> tail = {}) {
  protocol::Target target;
  target.error = std::string(error, 'e');
  target.log_tail = std::move(tail);
  return target;
}

}  // namespace

TEST_CASE("text is cut between characters, and shows that it was") {
  CHECK(shortened("hello", 5) == "hello");
  CHECK(shortened("hello!", 5) == "he…");
  CHECK(shortened("ää…ä", 8) == "ää…");
  CHECK(shortened("äää", 5) == "ä…");
  CHECK(shortened("hello", 2).empty());
}

TEST_CASE("short texts are kept whole, the rest is shared evenly") {
  CHECK(text_allowance({}) == target_text_limit);
  CHECK(text_allowance({with_text(5'000'000)}) == target_text_limit);
  std::vector<protocol::Target> targets(100, with_text(100'000));
  CHECK(text_allowance(targets) == build_text_limit / 100);
  // Targets that need little leave more to the others.
  targets.insert(targets.end(), 100, with_text(10));
  CHECK(text_allowance(targets) == (build_text_limit - 1000) / 100);
  targets.assign(1'000'000, with_text(100));
  CHECK(text_allowance(targets) == 1);
}

TEST_CASE("of an error the beginning is kept, of a log the end") {
  auto kept = kept_text(with_text(3, {"one", "two"}), 100);
  CHECK(kept.error == "eee");
  CHECK(kept.log_tail == "one\ntwo\n");
  kept = kept_text(with_text(100, {"first line", "second line", "third line"}), 60);
  CHECK(kept.error.size() == 30);
  CHECK(kept.log_tail == "second line\nthird line\n");
  kept = kept_text(with_text(100), 60);
  CHECK(kept.error.size() == 60);
  kept = kept_text(with_text(0, {std::string(100, 'x')}), 60);
  CHECK(kept.log_tail.empty());
  CHECK(kept_text(with_text(9, {"x"}), 0).error.empty());
}
