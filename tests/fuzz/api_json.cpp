// The API's JSON: accepted input survives writing and reading it again, and errors name a field.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "check.hpp"
#include "common/base/error.hpp"
#include "common/protocol/json.hpp"
#include "common/protocol/type_list.hpp"

using namespace nixbuild;
using namespace nixbuild::protocol;

namespace {

template <typename T>
void check(std::string_view text) {
  try {
    const std::string json = to_json(from_json<T>(text));
    CHECK(to_json(from_json<T>(json)) == json);
    CHECK(to_json(from_json<T>(to_json(from_json<T>(json), 2))) == json);
  } catch (const FormatError& error) {
    CHECK(std::string_view(error.what()).starts_with(type_name<T>()));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
#define CHECK_TYPE(Type) check<Type>(text);
  NIXBUILD_PROTOCOL_TYPES(CHECK_TYPE)
#undef CHECK_TYPE
  return 0;
}
