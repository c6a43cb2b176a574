// The key that a machine will trust: fetched, held against what was known before, tried on what the
// server serves.
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
  PublicKeys all;  // that the server has; `key` is one of them
  std::string cache_url;
  std::string verified_by;  // the store path whose narinfo it has signed; empty: none was found
};

// Asks the server. `before` gives the keys known of a cache's URL. Throws UnreachableError;
// RefusedError when there is no key, it is malformed, signs nothing of what is served, or is
// another than before.
ServerKey fetch_server_key(const config::ClientOptions& options,
                           const std::function<PublicKeys(const std::string& cache_url)>& before);

// The public keys in string literals of a Nix file.
PublicKeys keys_in_nix_file(std::string_view text);

}  // namespace nixbuild::cli
