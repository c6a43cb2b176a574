// The keys of --only-signed-by: a cache with such keys has none of its own, and serves only what
// one of these has signed according to Nix's database.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "common/nix/keys.hpp"

namespace nixbuild::cache {

class VerifyingKeys {
 public:
  // Throws FormatError if one is no public key.
  explicit VerifyingKeys(const std::vector<std::string>& keys) {
    for (const std::string& key : keys)
      keys_.push_back(nix::PublicKey::parse(key));
  }

  // Whether the option is not given.
  bool empty() const noexcept { return keys_.empty(); }
  const std::vector<nix::PublicKey>& all() const noexcept { return keys_; }

  // Whether one of the keys made one of these signatures of `message`.
  bool verify(std::string_view message, const std::vector<std::string>& signatures) const {
    return std::any_of(signatures.begin(), signatures.end(), [&](const std::string& signature) {
      return std::any_of(keys_.begin(), keys_.end(),
                         [&](const nix::PublicKey& key) { return key.verify(message, signature); });
    });
  }

 private:
  std::vector<nix::PublicKey> keys_;
};

}  // namespace nixbuild::cache
