// Build records: accepted input is canonical, so rendering it produces the same bytes, which are
// accepted again.
#include "common/protocol/record.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "check.hpp"
#include "common/base/error.hpp"

using namespace nixbuild;
using namespace nixbuild::protocol;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const std::string rendered = render_record(parse_record(text));
    CHECK(render_record(parse_record(rendered)) == rendered);
    for (const char c : text)
      CHECK(c >= ' ' && c < '\x7f');
  } catch (const FormatError&) {
  }
  return 0;
}
