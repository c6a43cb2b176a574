// What an upstream says of a path, checked, and as this proxy passes it on.
//
// Only the URL is rewritten: "nar/HASHPART/UPSTREAM/FILE", where UPSTREAM stands for the upstream
// (its `id`), and FILE is the last part of its own URL. Clients remember such a URL for 30 days. It
// is resolved from that upstream's narinfo again, so no client can make the proxy fetch anything
// that a narinfo of its upstreams does not name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/nix/narinfo.hpp"

namespace nixbuild::proxy {

constexpr std::size_t narinfo_limit = std::size_t{1} << 20;  // bytes

struct UpstreamNarinfo {
  nix::NarInfo fields;  // `url` is the upstream's, relative to its base URL
  std::string file;     // FILE
  std::string text;     // for clients
};

// Throws FormatError if `text` is not the narinfo of that path in this store, or if its URL leads
// out of the upstream: an absolute one, or one with "..".
UpstreamNarinfo parse_upstream_narinfo(const nix::StoreDir& store_dir, std::string_view hash_part,
                                       std::string_view upstream_id, std::string_view text);

// The last part of a relative URL's path. Nothing unless the URL stays below its base and holds
// only characters that need no escaping.
std::optional<std::string_view> file_of_url(std::string_view url);

// Whether both are the same bytes: the same compression and FileHash or, uncompressed, NarHash.
bool is_same_file(const nix::NarInfo& a, const nix::NarInfo& b);

// The hash that the file of this narinfo must have; nothing if it names none.
std::optional<nix::Sha256> expected_hash(const nix::NarInfo& narinfo);
// The same for its size in bytes.
std::optional<std::uint64_t> expected_size(const nix::NarInfo& narinfo);

// What an upstream is called in URLs: 16 characters that its own URL determines.
std::string upstream_id(std::string_view base_url);

// The store directory that a nix-cache-info names. Throws FormatError if it is none.
std::string parse_cache_info(std::string_view text);

}  // namespace nixbuild::proxy
