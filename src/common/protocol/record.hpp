// Build records: signed descriptions of builds that have ended. Anybody can pass them on and verify
// them. docs/protocol.md specifies the format.
//
// A record is one line of canonical JSON. The signed text is `record_signature_prefix` and the
// exact bytes of that line, so a client verifies before it parses.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "common/nix/keys.hpp"
#include "common/protocol/types.hpp"

namespace nixbuild::protocol {

constexpr std::string_view record_signature_prefix = "nixbuild-record-1\n";
constexpr std::int64_t record_format = 1;

// The record's bytes, the same whoever renders them. ASCII, without a line end.
std::string render_record(const BuildRecord& record);

// The text to sign or verify.
std::string signed_text(std::string_view record);

// The first of `keys` that has signed these bytes; nothing if none has.
std::optional<nix::PublicKey> record_signer(const SignedRecord& record,
                                            std::span<const nix::PublicKey> keys);

// To be called only with verified bytes. Throws FormatError unless the bytes are canonical JSON of
// a record of format 1 whose every field is valid. Unknown fields are ignored.
BuildRecord parse_record(std::string_view bytes);

}  // namespace nixbuild::protocol
