// What the proxy reads from its directory: narinfos that it has kept, perhaps damaged; and NARs
// that it decompresses to check them.
#include "server/proxy/kept_narinfo.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "check.hpp"
#include "common/base/error.hpp"
#include "common/compress/decompressor.hpp"

using namespace nixbuild;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    const proxy::KeptNarinfo kept = proxy::parse_kept_narinfo(bytes);
    CHECK(kept.fetched >= 0);
    CHECK(proxy::parse_kept_narinfo(proxy::render_kept_narinfo(kept)) == kept);
  } catch (const FormatError&) {
  }
  for (const auto compression : {compress::Compression::zstd, compress::Compression::xz}) {
    std::size_t left = std::size_t{1} << 20;
    try {
      const auto decompressor =
          compress::make_decompressor(compression, [&](std::string_view piece) {
            if (piece.size() > left) throw Error("enough");
            left -= piece.size();
          });
      decompressor->write(bytes.substr(0, size / 2));
      decompressor->write(bytes.substr(size / 2));
      decompressor->finish();
    } catch (const Error&) {
    }
  }
  return 0;
}
