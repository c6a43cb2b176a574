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
  // Throws FormatError. The message never contains the text, as it may be a secret key.
  static PublicKey parse(std::string_view text);

  const std::string& name() const noexcept { return name_; }
  std::string to_string() const;
  // For people to compare: "SHA256:" and the base-64 of the hash of the key's 32 bytes.
  std::string fingerprint() const;
  // Whether `signature` ("NAME:BASE64") is a valid signature of `message` by this key.
  bool verify(std::string_view message, std::string_view signature) const;

  friend bool operator==(const PublicKey&, const PublicKey&) = default;

 private:
  friend class SecretKey;
  std::string name_;
  std::array<std::uint8_t, 32> bytes_{};
};

// Wiped from memory when destroyed.
class SecretKey {
 public:
  // `name` is for example "cache.example.org-1": not empty, no colon, no white space. Throws
  // UsageError.
  static SecretKey generate(std::string_view name);
  // Throws FormatError. The message never contains key material.
  static SecretKey parse(std::string_view text);

  SecretKey(const SecretKey&) = default;
  SecretKey& operator=(const SecretKey&) = default;
  ~SecretKey();

  const std::string& name() const noexcept { return name_; }
  std::string to_string() const;
  PublicKey public_key() const;
  // The signature of `message`, "NAME:BASE64".
  std::string sign(std::string_view message) const;

 private:
  SecretKey() = default;
  std::string name_;
  std::array<std::uint8_t, 64> bytes_{};
};

}  // namespace nixbuild::nix
