// The public keys that this machine has got from binary caches before: a key that changes unasked
// is somebody else's, until a person says otherwise. One line a key: "URL NAME:BASE64".
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "common/nix/keys.hpp"

namespace nixbuild::cli {

using PublicKeys = std::vector<nix::PublicKey>;

// A key for people: its fingerprint and its name.
std::string describe(const nix::PublicKey& key);

// Those of one cache in the text of such a file. Lines of another form are passed over.
PublicKeys keys_of(std::string_view text, std::string_view cache_url);
// The text with these keys, and no others, for that cache.
std::string with_keys(std::string_view text, std::string_view cache_url, const PublicKeys& keys);

// What a public key is replaced by.
struct KeyChange {
  nix::PublicKey before;
  nix::PublicKey now;
};

// Whether the cache's keys are others than before: one of the same name has other bytes, or none of
// them was known. A key that only joins the known ones is no change, and neither is the first.
std::vector<KeyChange> key_changes(const PublicKeys& before, const PublicKeys& now);

class KnownKeys {
 public:
  explicit KnownKeys(std::filesystem::path file) : file_(std::move(file)) {}

  // Each throws SystemError when the file cannot be read or written.
  PublicKeys of(std::string_view cache_url) const;
  void remember(std::string_view cache_url, const PublicKeys& keys) const;

  const std::filesystem::path& file() const noexcept { return file_; }

 private:
  std::filesystem::path file_;
};

// In the user's state directory. Throws UsageError where there is none.
KnownKeys known_keys_of_user();

}  // namespace nixbuild::cli
