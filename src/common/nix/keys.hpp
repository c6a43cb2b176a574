// Ed25519 keys and signatures in Nix's text form: "NAME:BASE64".
// Source: the Nix manual, `nix key generate-secret`, `nix key convert-secret-to-public`.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace nixbuild::nix {

class PublicKey {
 public:
  // Throws FormatError. The message never holds the text itself: it may be a secret key.
  static PublicKey parse(std::string_view text);

  const std::string& name() const noexcept { return name_; }
  std::string to_string() const;
  // For people to compare: "SHA256:" and the base-64 of the hash of the key's 32 bytes.
  std::string fingerprint() const;
  // Whether `signature` ("NAME:BASE64") is this key's, over `message`.
  bool verify(std::string_view message, std::string_view signature) const;

  friend bool operator==(const PublicKey&, const PublicKey&) = default;

 private:
  friend class SecretKey;
  std::string name_;
  std::array<std::uint8_t, 32> bytes_{};
};

// Wiped from memory when it goes.
class SecretKey {
 public:
  // `name` as in "cache.example.org-1": not empty, no colon, no white space. Throws UsageError.
  static SecretKey generate(std::string_view name);
  // Throws FormatError. The message never holds key material.
  static SecretKey parse(std::string_view text);

  SecretKey(const SecretKey&) = default;
  SecretKey& operator=(const SecretKey&) = default;
  ~SecretKey();

  const std::string& name() const noexcept { return name_; }
  std::string to_string() const;
  PublicKey public_key() const;
  // "NAME:BASE64" over `message`.
  std::string sign(std::string_view message) const;

 private:
  SecretKey() = default;
  std::string name_;
  std::array<std::uint8_t, 64> bytes_{};
};

}  // namespace nixbuild::nix
