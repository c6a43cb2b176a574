#include "server/cache/signing_keys.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/error.hpp"
#include "common/keys/key_file.hpp"

namespace nixbuild::cache {

SigningKeys::SigningKeys(const std::vector<std::filesystem::path>& files,
                         std::filesystem::path state_dir)
    : state_dir_(std::move(state_dir)), keys_(std::make_shared<const Keys>(load(files))) {}

SigningKeys::Keys SigningKeys::load(const std::vector<std::filesystem::path>& files) const {
  Keys loaded;
  if (files.empty()) {
    loaded.push_back(
        keys::load_or_generate_key_file(state_dir_ / "cache-key", keys::default_key_name()));
    return loaded;
  }
  for (const auto& file : files) {
    nix::SecretKey key = keys::load_key_file(file);
    // Clients look a signature's key up by its name.
    const bool known = std::any_of(loaded.begin(), loaded.end(),
                                   [&](const auto& other) { return other.name() == key.name(); });
    if (known) {
      throw UsageError(
          fmt::format("secret key {}: another key has its name, {}, already; a name "
                      "must stand for one key",
                      file.string(), key.name()));
    }
    loaded.push_back(std::move(key));
  }
  return loaded;
}

void SigningKeys::reload(const std::vector<std::filesystem::path>& files) {
  if (signs_nothing()) return;
  auto loaded = std::make_shared<const Keys>(load(files));
  const std::lock_guard lock(mutex_);
  keys_ = std::move(loaded);
  generation_.fetch_add(1, std::memory_order_acq_rel);
}

std::shared_ptr<const SigningKeys::Keys> SigningKeys::keys() const {
  const std::lock_guard lock(mutex_);
  return keys_;
}

std::vector<std::string> SigningKeys::add_to(std::vector<std::string> signatures,
                                             std::string_view message) const {
  std::vector<std::string> result;
  const auto add = [&](std::string signature) {
    if (std::find(result.begin(), result.end(), signature) == result.end()) {
      result.push_back(std::move(signature));
    }
  };
  for (std::string& signature : signatures)
    add(std::move(signature));
  const auto current = keys();  // keeps them alive: a reload replaces them
  for (const nix::SecretKey& key : *current)
    add(key.sign(message));
  return result;
}

std::vector<nix::PublicKey> SigningKeys::public_keys() const {
  std::vector<nix::PublicKey> result;
  const auto current = keys();
  for (const nix::SecretKey& key : *current)
    result.push_back(key.public_key());
  return result;
}

}  // namespace nixbuild::cache
