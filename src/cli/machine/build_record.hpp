// Build records as this machine checks them: which keys count, and whether what a server says of a
// build is signed by one of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/api_client.hpp"
#include "cli/machine/known_keys.hpp"
#include "common/protocol/types.hpp"

namespace nixbuild::cli {

// The keys that are named in [client] record_keys and that Nix trusts. Nix alone is not enough: it
// also trusts public caches and whoever may push, and they must not choose what this machine runs.
struct RecordKeys {
  PublicKeys keys;
  std::string problem;  // why there are none, and what to do; empty if there are some
};
RecordKeys record_keys(const std::vector<std::string>& named,
                       const std::vector<std::string>& trusted_by_nix);

// The same for this machine's Nix, which is asked for its settings. Throws Error if it does not
// tell.
RecordKeys record_keys_of_machine(const config::ClientOptions& options);

struct VerifiedRecord {
  protocol::BuildRecord record;
  std::string bytes;  // that are signed
  nix::PublicKey signer;
};

// Verifies, then parses, then checks that the record is of that build. Throws RefusedError with the
// reason, in one line.
VerifiedRecord verify_record(const protocol::SignedRecord& record, const RecordKeys& keys,
                             std::int64_t build);

// Asks the server for the record and verifies it. Throws UnreachableError and RefusedError.
VerifiedRecord fetch_record(ApiClient& api, std::int64_t build, const RecordKeys& keys);

// The flake.lock that the record names by its hash, asked of the server; empty if the build had
// none. Throws as above.
std::string fetch_recorded_lock(ApiClient& api, const protocol::BuildRecord& record);

}  // namespace nixbuild::cli
