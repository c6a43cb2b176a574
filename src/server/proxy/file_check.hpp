// Whether a NAR's file that comes piece by piece is the one that its narinfo describes: by its
// FileHash, or, without one, by the hash of the NAR that it decompresses to.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "common/base/error.hpp"
#include "common/compress/decompressor.hpp"
#include "common/nix/hash.hpp"
#include "common/nix/narinfo.hpp"

namespace nixbuild::proxy {

// It cannot be told whether the file is right.
class UncheckableFile : public Error {
 public:
  using Error::Error;
};

class FileCheck {
 public:
  // Null if there is no way to check a file of this narinfo: it has no FileHash, and a compression
  // that is unknown here.
  static std::shared_ptr<FileCheck> create(const nix::NarInfo& narinfo);

  // Throws UncheckableFile if the file cannot be decompressed.
  void update(std::string_view bytes);
  // After the last byte: the file's hash, or nothing if it is not the right file. Throws as above.
  std::optional<nix::Sha256> finish();

  // For whoever goes on from here without this check; nothing if the file's own hash is unknown.
  std::optional<nix::Sha256Hasher> hasher() const;

 private:
  explicit FileCheck(const nix::NarInfo& narinfo);

  const std::optional<nix::Sha256> file_hash_;  // that it must have
  const nix::Sha256 nar_hash_;
  const std::uint64_t nar_size_;
  const bool is_uncompressed_;  // then the file is the NAR
  nix::Sha256Hasher hasher_;
  nix::Sha256Hasher nar_hasher_;
  std::uint64_t nar_position_ = 0;
  std::unique_ptr<compress::Decompressor> decompressor_;  // null: the file's own hash is enough
};

}  // namespace nixbuild::proxy
