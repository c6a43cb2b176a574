// The public keys that this machine has seen from binary caches. A key that changes unexpectedly is
// refused until a person accepts it. One line for each key: "URL NAME:BASE64".
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "common/nix/keys.hpp"

namespace nixbuild::cli {

using PublicKeys = std::vector<nix::PublicKey>;

// A key in readable form: its fingerprint and its name.
std::string describe(const nix::PublicKey& key);

// The keys of one cache in such a file's text. Malformed lines are skipped.
PublicKeys keys_of(std::string_view text, std::string_view cache_url);
// The text with the cache's keys replaced by these.
std::string with_keys(std::string_view text, std::string_view cache_url, const PublicKeys& keys);

// A public key and the one that replaced it.
struct KeyChange {
  nix::PublicKey before;
  nix::PublicKey now;
};

// Whether the cache's keys have changed: a known name has other bytes, or none of the keys was
// known. Adding a key to known ones is no change, and neither is the first contact.
std::vector<KeyChange> key_changes(const PublicKeys& before, const PublicKeys& now);

class KnownKeys {
 public:
  explicit KnownKeys(std::filesystem::path file) : file_(std::move(file)) {}

  // Each throws SystemError if the file cannot be read or written.
  PublicKeys of(std::string_view cache_url) const;
  void remember(std::string_view cache_url, const PublicKeys& keys) const;

  const std::filesystem::path& file() const noexcept { return file_; }

 private:
  std::filesystem::path file_;
};

// In the user's state directory. Throws UsageError if it cannot be determined.
KnownKeys known_keys_of_user();

}  // namespace nixbuild::cli
