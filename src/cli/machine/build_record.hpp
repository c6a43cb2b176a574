// Verifies build records on this machine: which keys count, and whether one of them has signed the
// server's description of a build.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/api_client.hpp"
#include "cli/machine/known_keys.hpp"
#include "common/protocol/types.hpp"

namespace nixbuild::cli {

// The keys that are in [client] record_keys and that Nix trusts. Nix's keys alone are not enough:
// it also trusts public caches and whoever may push, and they must not choose what this machine
// runs.
struct RecordKeys {
  PublicKeys keys;
  std::string problem;  // why there are none, and what to do; empty if there are some
};
RecordKeys record_keys(const std::vector<std::string>& named,
                       const std::vector<std::string>& trusted_by_nix);

// The same with the settings of this machine's Nix. Throws Error if Nix does not print them.
RecordKeys record_keys_of_machine(const config::ClientOptions& options);

struct VerifiedRecord {
  protocol::BuildRecord record;
  std::string bytes;  // what is signed
  nix::PublicKey signer;
};

// Verifies the record, parses it, and checks that it is of that build. Throws RefusedError with a
// one-line reason.
VerifiedRecord verify_record(const protocol::SignedRecord& record, const RecordKeys& keys,
                             std::int64_t build);

// Requests the record from the server and verifies it. Throws UnreachableError and RefusedError.
VerifiedRecord fetch_record(ApiClient& api, std::int64_t build, const RecordKeys& keys);

// Requests the flake.lock whose hash is in the record; empty if the build had none. Throws as
// above.
std::string fetch_recorded_lock(ApiClient& api, const protocol::BuildRecord& record);

}  // namespace nixbuild::cli
