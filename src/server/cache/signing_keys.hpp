// The signing keys, all of which sign each time. They can be reloaded while the server runs.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "common/nix/keys.hpp"
#include "common/nix/path_info.hpp"

namespace nixbuild::cache {

// Thread-safe.
class SigningKeys {
 public:
  // No keys, now and later: nothing is signed.
  SigningKeys() : keys_(std::make_shared<const Keys>()) {}
  // If `files` is empty, uses a key in `state_dir`, which is generated if missing. Throws
  // UsageError if a key cannot be used.
  SigningKeys(const std::vector<std::filesystem::path>& files, std::filesystem::path state_dir);

  bool signs_nothing() const { return state_dir_.empty(); }

  // Reads `files`, which may differ from the previous ones. Throws like the constructor, and then
  // keeps the current keys.
  void reload(const std::vector<std::filesystem::path>& files);

  // `signatures` and one by each key over `message`, without duplicates.
  std::vector<std::string> add_to(std::vector<std::string> signatures,
                                  std::string_view message) const;

  std::vector<nix::PublicKey> public_keys() const;
  // Changes with every reload.
  std::uint64_t generation() const noexcept { return generation_.load(std::memory_order_acquire); }

 private:
  using Keys = std::vector<nix::SecretKey>;
  Keys load(const std::vector<std::filesystem::path>& files) const;
  std::shared_ptr<const Keys> keys() const;

  const std::filesystem::path state_dir_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Keys> keys_;
  std::atomic<std::uint64_t> generation_{1};
};

}  // namespace nixbuild::cache
