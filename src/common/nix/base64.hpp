// Base-64 of RFC 4648 with padding, as Nix writes keys, signatures and SRI hashes. The time that it
// takes does not depend on what is coded, so it is fit for secrets.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace nixbuild::nix {

void append_base64(std::string& out, std::span<const std::uint8_t> bytes);

// False, with `bytes` undefined, when `text` is not the one encoding of just so many bytes.
bool base64_decode_into(std::string_view text, std::span<std::uint8_t> bytes) noexcept;

}  // namespace nixbuild::nix
