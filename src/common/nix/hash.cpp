#include "common/nix/hash.hpp"

#include <openssl/evp.h>

#include <utility>

#include "common/base/error.hpp"
#include "common/nix/base32.hpp"
#include "common/nix/base64.hpp"

namespace nixbuild::nix {

namespace {

constexpr std::string_view colon_prefix = "sha256:";
constexpr std::string_view sri_prefix = "sha256-";
constexpr std::size_t base16_length = 2 * Sha256::size;

void append_base16(std::string& out, const Sha256& hash) {
  constexpr std::string_view digits = "0123456789abcdef";
  for (const std::uint8_t byte : hash.bytes) {
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool decode_base16(std::string_view text, Sha256& hash) {
  if (text.size() != base16_length) return false;
  for (std::size_t i = 0; i < Sha256::size; ++i) {
    const int high = hex_value(text[2 * i]);
    const int low = hex_value(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    hash.bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return true;
}

// Done once: looking up an algorithm by name costs more than hashing a narinfo.
const EVP_MD* sha256_algorithm() {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  if (!algorithm)
    throw Error("OpenSSL offers no SHA-256: check its configuration (openssl list -providers)");
  return algorithm;
}

[[noreturn]] void throw_digest_error() {
  throw Error("computing a SHA-256 failed inside OpenSSL");
}

}  // namespace

std::string Sha256::base16() const {
  std::string text;
  text.reserve(base16_length);
  append_base16(text, *this);
  return text;
}

std::string Sha256::base32() const {
  return base32_encode(bytes);
}

std::string Sha256::prefixed_base32() const {
  std::string text;
  text.reserve(colon_prefix.size() + base32_length(size));
  text += colon_prefix;
  append_base32(text, bytes);
  return text;
}

std::string Sha256::prefixed_base16() const {
  std::string text;
  text.reserve(colon_prefix.size() + base16_length);
  text += colon_prefix;
  append_base16(text, *this);
  return text;
}

std::string Sha256::sri() const {
  std::string text(sri_prefix);
  append_base64(text, bytes);
  return text;
}

std::optional<Sha256> Sha256::parse(std::string_view text) {
  Sha256 hash;
  bool good = false;
  if (text.starts_with(sri_prefix)) {
    good = base64_decode_into(text.substr(sri_prefix.size()), hash.bytes);
  } else {
    const bool prefixed = text.starts_with(colon_prefix);
    if (prefixed) text.remove_prefix(colon_prefix.size());
    // The three encodings differ in length.
    good = decode_base16(text, hash) || base32_decode_into(text, hash.bytes) ||
           (prefixed && base64_decode_into(text, hash.bytes));
  }
  if (!good) return std::nullopt;
  return hash;
}

struct Sha256Hasher::State {
  State() : context(EVP_MD_CTX_new()) {
    if (!context) throw_digest_error();
    begin();
  }
  ~State() { EVP_MD_CTX_free(context); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void begin() {
    if (EVP_DigestInit_ex2(context, sha256_algorithm(), nullptr) != 1) throw_digest_error();
  }

  EVP_MD_CTX* context;
};

Sha256Hasher::Sha256Hasher() : state_(std::make_unique<State>()) {}
Sha256Hasher::~Sha256Hasher() = default;
Sha256Hasher::Sha256Hasher(const Sha256Hasher& other) : state_(std::make_unique<State>()) {
  if (EVP_MD_CTX_copy_ex(state_->context, other.state_->context) != 1) throw_digest_error();
}
Sha256Hasher::Sha256Hasher(Sha256Hasher&&) noexcept = default;
Sha256Hasher& Sha256Hasher::operator=(Sha256Hasher&&) noexcept = default;

void Sha256Hasher::update(std::span<const std::uint8_t> bytes) {
  if (EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) != 1) throw_digest_error();
}

void Sha256Hasher::update(std::string_view bytes) {
  if (EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) != 1) throw_digest_error();
}

Sha256 Sha256Hasher::finish() {
  Sha256 hash;
  if (EVP_DigestFinal_ex(state_->context, hash.bytes.data(), nullptr) != 1) throw_digest_error();
  state_->begin();
  return hash;
}

Sha256 sha256(std::string_view bytes) {
  Sha256 hash;
  if (EVP_Digest(bytes.data(), bytes.size(), hash.bytes.data(), nullptr, sha256_algorithm(),
                 nullptr) != 1)
    throw_digest_error();
  return hash;
}

}  // namespace nixbuild::nix
