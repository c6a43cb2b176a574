// Base-64 of RFC 4648 with padding, as Nix writes keys, signatures and SRI hashes. Runs in constant
// time, so it is suitable for secrets.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace nixbuild::nix {

void append_base64(std::string& out, std::span<const std::uint8_t> bytes);

// False, with `bytes` undefined, if `text` is not the canonical encoding of exactly that many
// bytes.
bool base64_decode_into(std::string_view text, std::span<std::uint8_t> bytes) noexcept;

}  // namespace nixbuild::nix
