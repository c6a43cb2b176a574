// A narinfo as it is kept on disk: an upstream's own text, and what the proxy knows of it besides.
//
//   nixbuild-narinfo 1
//   Fetched: 1764200000
//   ETag: "0123"
//   FileHash: sha256:0gs2nb…
//
//   StorePath: /nix/store/…
//
// The lines before the empty one come in this order; the last two of them may be missing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/nix/hash.hpp"

namespace nixbuild::proxy {

struct KeptNarinfo {
  std::int64_t fetched = 0;  // or found unchanged; seconds since 1970
  std::string etag;          // the upstream's, or empty
  // Of the NAR's file as it was received, if the narinfo itself has no FileHash.
  std::optional<nix::Sha256> measured_hash;
  std::string text;  // the upstream's

  friend bool operator==(const KeptNarinfo&, const KeptNarinfo&) = default;
};

std::string render_kept_narinfo(const KeptNarinfo& kept);

// Throws FormatError. The upstream's text itself is not parsed.
KeptNarinfo parse_kept_narinfo(std::string_view bytes);

}  // namespace nixbuild::proxy
