#include "common/nix/keys.hpp"

#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "common/base/error.hpp"
#include "common/nix/base64.hpp"
#include "common/nix/hash.hpp"

namespace nixbuild::nix {

namespace {

void init_sodium() {
  static const int result = sodium_init();  // 1: already initialised
  if (result < 0) throw Error("libsodium cannot be set up: no source of random numbers");
}

// The name is written to narinfos and to files of trusted keys, where white space separates the
// keys.
bool is_key_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) > ' ' && c != 0x7f && c != ':';
  });
}

std::string_view without_final_space(std::string_view text) {
  const std::size_t last = text.find_last_not_of(" \t\r\n");
  return text.substr(0, last == text.npos ? 0 : last + 1);
}

// Splits "NAME:BASE64", returns the name and fills `bytes`, whose size must match exactly. Nothing,
// with `bytes` undefined, if the text does not have that form.
std::optional<std::string_view> parse_named(std::string_view text, std::span<std::uint8_t> bytes) {
  const std::size_t colon = text.find(':');
  if (colon == text.npos || !is_key_name(text.substr(0, colon)) ||
      !base64_decode_into(text.substr(colon + 1), bytes))
    return std::nullopt;
  return text.substr(0, colon);
}

std::string render_named(std::string_view name, std::span<const std::uint8_t> bytes) {
  std::string text;
  text.reserve(name.size() + 2 + (bytes.size() + 2) / 3 * 4);
  text += name;
  text += ':';
  append_base64(text, bytes);
  return text;
}

}  // namespace

PublicKey PublicKey::parse(std::string_view text) {
  PublicKey key;
  const auto name = parse_named(without_final_space(text), key.bytes_);
  if (!name)
    throw FormatError(
        "this is no public key in Nix's format: it should be NAME:BASE64 with 44 characters of "
        "base-64, as `nix key convert-secret-to-public` writes it");
  key.name_ = *name;
  return key;
}

std::string PublicKey::to_string() const {
  return render_named(name_, bytes_);
}

std::string PublicKey::fingerprint() const {
  std::string text = "SHA256:";
  const Sha256 hash =
      sha256(std::string_view(reinterpret_cast<const char*>(bytes_.data()), bytes_.size()));
  append_base64(text, hash.bytes);
  while (text.ends_with('='))
    text.pop_back();
  return text;
}

bool PublicKey::verify(std::string_view message, std::string_view signature) const {
  std::array<unsigned char, crypto_sign_BYTES> bytes{};
  const auto name = parse_named(signature, bytes);
  if (!name || *name != name_) return false;
  init_sodium();
  return crypto_sign_verify_detached(bytes.data(),
                                     reinterpret_cast<const unsigned char*>(message.data()),
                                     message.size(), bytes_.data()) == 0;
}

SecretKey SecretKey::generate(std::string_view name) {
  if (!is_key_name(name))
    throw UsageError(fmt::format(
        "'{}' cannot name a key: take a name such as cache.example.org-1, not empty, without "
        "colons and white space",
        name));
  init_sodium();
  SecretKey key;
  key.name_ = name;
  std::array<unsigned char, crypto_sign_PUBLICKEYBYTES> public_bytes{};
  crypto_sign_keypair(public_bytes.data(), key.bytes_.data());
  return key;
}

SecretKey SecretKey::parse(std::string_view text) {
  SecretKey key;
  const auto name = parse_named(without_final_space(text), key.bytes_);
  if (!name)
    throw FormatError(
        "this is no secret key in Nix's format: it should be NAME:BASE64 with 88 characters of "
        "base-64, as `nix key generate-secret` writes it");
  key.name_ = *name;

  // The second half must be the public key of the first. Signing with mismatched halves produces
  // signatures that nobody can verify and that reveal the secret.
  init_sodium();
  std::array<unsigned char, crypto_sign_PUBLICKEYBYTES> public_bytes{};
  SecretKey derived;
  crypto_sign_seed_keypair(public_bytes.data(), derived.bytes_.data(), key.bytes_.data());
  if (sodium_memcmp(derived.bytes_.data(), key.bytes_.data(), key.bytes_.size()) != 0)
    throw FormatError(fmt::format(
        "the secret key '{}' is damaged: its public half does not belong to its secret half. "
        "Restore it from a backup, or make a new one",
        key.name_));
  return key;
}

SecretKey::~SecretKey() {
  sodium_memzero(bytes_.data(), bytes_.size());
}

std::string SecretKey::to_string() const {
  return render_named(name_, bytes_);
}

PublicKey SecretKey::public_key() const {
  PublicKey key;
  key.name_ = name_;
  std::copy(bytes_.begin() + crypto_sign_SEEDBYTES, bytes_.end(), key.bytes_.begin());
  return key;
}

std::string SecretKey::sign(std::string_view message) const {
  init_sodium();
  std::array<unsigned char, crypto_sign_BYTES> signature{};
  crypto_sign_detached(signature.data(), nullptr,
                       reinterpret_cast<const unsigned char*>(message.data()), message.size(),
                       bytes_.data());
  return render_named(name_, signature);
}

}  // namespace nixbuild::nix
