// The key that a machine will trust: fetched from the server, compared with the keys known before,
// and verified with a path that the server offers.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "cli/machine/known_keys.hpp"
#include "common/config/build_options.hpp"
#include "common/nix/keys.hpp"

namespace nixbuild::cli {

struct ServerKey {
  nix::PublicKey key;
  PublicKeys all;  // the server's keys, `key` among them
  std::string cache_url;
  std::string verified_by;  // the store path whose narinfo it signs; empty if none was found
  bool is_known = false;    // this machine has seen it before
};

// Asks the server. `before` returns the keys known before for a cache's URL. Throws
// UnreachableError, and RefusedError if there is no key, or if it is malformed, does not sign what
// the server offers or differs from the known ones.
ServerKey fetch_server_key(const config::ClientOptions& options,
                           const std::function<PublicKeys(const std::string& cache_url)>& before);

// The public keys in string literals of a Nix file.
PublicKeys keys_in_nix_file(std::string_view text);

}  // namespace nixbuild::cli
