#include "server/proxy/kept_narinfo.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <string>

#include "common/base/error.hpp"

using namespace nixbuild;
using namespace nixbuild::proxy;

TEST_CASE("a kept narinfo is read as it was written") {
  KeptNarinfo kept{1'764'200'000, "", {}, "StorePath: /nix/store/x\n"};
  CHECK(render_kept_narinfo(kept) ==
        "nixbuild-narinfo 1\nFetched: 1764200000\n\nStorePath: /nix/store/x\n");
  for (const char* etag : {"", "\"tag\"", "W/\"a b\""}) {
    for (const bool is_measured : {false, true}) {
      kept.etag = etag;
      kept.measured_hash.reset();
      if (is_measured) kept.measured_hash = nix::sha256("a");
      CHECK(parse_kept_narinfo(render_kept_narinfo(kept)) == kept);
    }
  }
  kept.text.clear();
  CHECK(parse_kept_narinfo(render_kept_narinfo(kept)) == kept);
  kept.text = "\n\nETag: x\n";
  CHECK(parse_kept_narinfo(render_kept_narinfo(kept)) == kept);
}

TEST_CASE("what is no kept narinfo") {
  const std::string good = "nixbuild-narinfo 1\nFetched: 1\n\n";
  CHECK_NOTHROW(parse_kept_narinfo(good));
  for (const char* bad :
       {"", "\n", "nixbuild-narinfo 2\nFetched: 1\n\n", "nixbuild-narinfo 1\n\n",
        "nixbuild-narinfo 1\nFetched: -1\n\n", "nixbuild-narinfo 1\nFetched: 1x\n\n",
        "nixbuild-narinfo 1\nFetched: 99999999999999999999\n\n", "nixbuild-narinfo 1\nFetched: 1\n",
        "nixbuild-narinfo 1\nFetched: 1\nETag: \n\n",
        "nixbuild-narinfo 1\nFetched: 1\nETag: a\nETag: b\n\n",
        "nixbuild-narinfo 1\nFetched: 1\nFileHash: sha256:1\n\n",
        "nixbuild-narinfo 1\nFetched: 1\nOther: 1\n\n"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(parse_kept_narinfo(bad), FormatError);
  }
  for (std::size_t n = 0; n < good.size(); ++n) {
    CHECK_THROWS_AS(parse_kept_narinfo(good.substr(0, n)), FormatError);
  }
}
