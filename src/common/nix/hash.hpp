// SHA-256 hashes: computing them, and the forms in which Nix writes them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace nixbuild::nix {

struct Sha256 {
  static constexpr std::size_t size = 32;
  std::array<std::uint8_t, size> bytes{};

  // Without a prefix: 64 hexadecimal digits, or 52 characters of Nix's base-32.
  std::string base16() const;
  std::string base32() const;
  // As narinfos write it: "sha256:" and base-32.
  std::string prefixed_base32() const;
  // As the database and `nix hash` write it: "sha256:" and base-16.
  std::string prefixed_base16() const;
  // Subresource Integrity, RFC-style: "sha256-" and base-64 with padding.
  std::string sri() const;

  // Any of the five forms above, and "sha256:" with base-64. Nothing if `text` has another form.
  static std::optional<Sha256> parse(std::string_view text);

  friend bool operator==(const Sha256&, const Sha256&) = default;
  friend auto operator<=>(const Sha256&, const Sha256&) = default;
};

// Computes a SHA-256 piece by piece.
class Sha256Hasher {
 public:
  Sha256Hasher();
  ~Sha256Hasher();
  Sha256Hasher(Sha256Hasher&&) noexcept;
  Sha256Hasher& operator=(Sha256Hasher&&) noexcept;
  // A copy goes on from what both have seen so far.
  Sha256Hasher(const Sha256Hasher& other);
  Sha256Hasher& operator=(const Sha256Hasher&) = delete;

  void update(std::span<const std::uint8_t> bytes);
  void update(std::string_view bytes);
  // The hash of all data so far. The hasher then starts over.
  Sha256 finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Sha256 sha256(std::string_view bytes);

}  // namespace nixbuild::nix
