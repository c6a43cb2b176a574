// narinfos: accepted input survives rendering and parsing it again.
#include "common/nix/narinfo.hpp"

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "check.hpp"
#include "common/base/error.hpp"

using namespace nixbuild;
using namespace nixbuild::nix;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const StoreDir store_dir;
  try {
    const NarInfo narinfo = parse_narinfo(store_dir, text);
    const std::string rendered = render_narinfo(store_dir, narinfo);
    CHECK(parse_narinfo(store_dir, rendered) == narinfo);
    CHECK(nlohmann::json::accept(render_narinfo_json(store_dir, narinfo)));
    CHECK(fingerprint(store_dir, narinfo.info).starts_with("1;/nix/store/"));
    CHECK(Sha256::parse(narinfo.info.nar_hash.sri()) == narinfo.info.nar_hash);
    CHECK(Sha256::parse(narinfo.info.nar_hash.base16()) == narinfo.info.nar_hash);
  } catch (const FormatError&) {
  }
  return 0;
}
