// Server-sent events: how the bytes are cut makes no difference.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "check.hpp"
#include "common/base/error.hpp"
#include "common/net/event_parser.hpp"

using namespace nixbuild;

namespace {

std::string events_of(net::EventParser& parser) {
  std::string out;
  while (auto event = parser.take()) {
    CHECK(event->type.find_first_of("\r\n") == std::string::npos);
    CHECK(event->id.find_first_of("\r\n") == std::string::npos);
    out += event->type + '\0' + event->id + '\0' + event->data + '\0';
  }
  return out;
}

}  // namespace

// The first byte determines the size of the pieces.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = std::size_t{data[0]} + 1;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  net::EventParser whole;
  net::EventParser cut;
  whole.feed(text);
  for (; !text.empty(); text.remove_prefix(std::min(piece, text.size()))) {
    cut.feed(text.substr(0, piece));
  }
  CHECK(events_of(whole) == events_of(cut));
  CHECK(whole.last_id() == cut.last_id());
  return 0;
}
