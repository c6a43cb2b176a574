// What an upstream of the proxy sends: narinfos, heads, nix-cache-info.
#include "server/proxy/upstream_narinfo.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "check.hpp"
#include "common/base/error.hpp"
#include "server/proxy/http_loop.hpp"

using namespace nixbuild;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const nix::StoreDir store_dir;
  constexpr std::string_view hash_part = "4bx8lyzls1zk8zh96bapxa24vxbcyb7y";
  try {
    const auto narinfo =
        proxy::parse_upstream_narinfo(store_dir, hash_part, "0123456789abcdef", text);
    // What is passed on differs in the URL alone, and that leads nowhere else.
    nix::NarInfo passed = nix::parse_narinfo(store_dir, narinfo.text);
    CHECK(proxy::file_of_url(passed.url) == narinfo.file);
    CHECK(passed.url.find("..") == std::string::npos ||
          narinfo.file.find("..") != std::string::npos);
    CHECK(narinfo.file.find('/') == std::string::npos && narinfo.file != "..");
    passed.url = narinfo.fields.url;
    CHECK(passed == narinfo.fields);
  } catch (const FormatError&) {
  }
  try {
    CHECK(proxy::parse_cache_info(text).starts_with('/'));
  } catch (const FormatError&) {
  }
  proxy::ResponseHead head;
  proxy::read_header_line(text, head);
  CHECK(!head.range_first || *head.range_first <= *head.range_size);
  CHECK(head.etag.find('\n') == std::string::npos);
  return 0;
}
