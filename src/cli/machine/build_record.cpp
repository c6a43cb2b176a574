#include "cli/machine/build_record.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/machine/nix_settings.hpp"
#include "common/base/error.hpp"
#include "common/base/terminal.hpp"
#include "common/nix/hash.hpp"
#include "common/protocol/record.hpp"
#include "common/protocol/routes.hpp"

namespace nixbuild::cli {
namespace {

using protocol::Operation;

// The names of the keys that the signatures claim, for messages.
std::string claimed_signers(const protocol::SignedRecord& record) {
  std::string names;
  for (const std::string& signature : record.signatures) {
    if (!names.empty()) names += ", ";
    names += terminal::printable(signature.substr(0, signature.find(':')), 64);
    if (names.size() > 200) break;
  }
  return names;
}

}  // namespace

RecordKeys record_keys(const std::vector<std::string>& named,
                       const std::vector<std::string>& trusted_by_nix) {
  RecordKeys result;
  std::string untrusted;
  for (const std::string& text : named) {
    const nix::PublicKey key = nix::PublicKey::parse(text);
    const bool is_trusted =
        std::any_of(trusted_by_nix.begin(), trusted_by_nix.end(), [&](const std::string& other) {
          try {
            return nix::PublicKey::parse(other) == key;
          } catch (const FormatError&) {
            return false;  // Nix itself reports a malformed key
          }
        });
    if (is_trusted) {
      result.keys.push_back(key);
    } else if (untrusted.empty()) {
      untrusted = key.to_string();
    }
  }
  if (!result.keys.empty()) return result;
  if (named.empty()) {
    result.problem =
        "this machine has no key to verify build records with; add record_keys = [\"NAME:BASE64\"] "
        "to [client] in ~/.config/nixbuild/config.toml, with what `nixbuild keys show` prints on "
        "the server";
  } else {
    result.problem = fmt::format(
        "Nix does not trust the record key {}; add it to trusted-public-keys", untrusted);
  }
  return result;
}

RecordKeys record_keys_of_machine(const config::ClientOptions& options) {
  const auto nix = ask_nix();
  if (!nix) throw Error("no nix command in PATH: its trusted-public-keys verify build records");
  return record_keys(options.record_keys, nix->trusted_public_keys());
}

VerifiedRecord verify_record(const protocol::SignedRecord& record, const RecordKeys& keys,
                             std::int64_t build) {
  const std::string what = fmt::format("the record of build {}", build);
  if (keys.keys.empty()) throw net::RefusedError(fmt::format("{}: {}", what, keys.problem));
  const auto signer = protocol::record_signer(record, keys.keys);
  if (!signer) {
    const std::string claimed = claimed_signers(record);
    throw net::RefusedError(
        fmt::format("{} is not signed by a key that this machine verifies records with ({}); {}",
                    what, keys.keys.front().to_string(),
                    claimed.empty() ? std::string("it has no signature")
                                    : fmt::format("its signatures claim to be by {}", claimed)));
  }
  VerifiedRecord verified{{}, record.record, *signer};
  try {
    verified.record = protocol::parse_record(record.record);
  } catch (const FormatError& error) {
    throw net::RefusedError(fmt::format("{}: {}", what, error.what()));
  }
  if (verified.record.build != build) {
    throw net::RefusedError(fmt::format("{} is that of build {}", what, verified.record.build));
  }
  return verified;
}

VerifiedRecord fetch_record(ApiClient& api, std::int64_t build, const RecordKeys& keys) {
  const auto record = api.get<protocol::SignedRecord>(
      protocol::path_of(Operation::build_record, fmt::format("{}", build)));
  return verify_record(record, keys, build);
}

std::string fetch_recorded_lock(ApiClient& api, const protocol::BuildRecord& record) {
  if (!record.lock_sha256) return {};
  std::string text =
      api.text(protocol::path_of(Operation::build_lock, fmt::format("{}", record.build)));
  if (nix::sha256(text).base16() != *record.lock_sha256) {
    throw net::RefusedError(fmt::format(
        "{}: the flake.lock that the server sends is not the one in the signed record of build {}",
        api.server().host_port(), record.build));
  }
  return text;
}

}  // namespace nixbuild::cli
