#include "server/proxy/file_check.hpp"

#include <string>

#include "common/compress/compression.hpp"
#include "server/proxy/upstream_narinfo.hpp"

namespace nixbuild::proxy {
namespace {

using compress::Compression;

std::optional<Compression> compression_of(const nix::NarInfo& narinfo) {
  for (const Compression one : {Compression::none, Compression::zstd, Compression::xz}) {
    if (narinfo.compression == compress::name_of(one)) return one;
  }
  return std::nullopt;
}

}  // namespace

FileCheck::FileCheck(const nix::NarInfo& narinfo)
    : file_hash_(expected_hash(narinfo)),
      nar_hash_(narinfo.info.nar_hash),
      nar_size_(narinfo.info.nar_size),
      is_uncompressed_(narinfo.compression == compress::name_of(Compression::none)) {}

std::shared_ptr<FileCheck> FileCheck::create(const nix::NarInfo& narinfo) {
  std::shared_ptr<FileCheck> check(new FileCheck(narinfo));
  if (check->file_hash_) return check;
  const auto compression = compression_of(narinfo);
  if (!compression) return nullptr;
  FileCheck& self = *check;
  check->decompressor_ = compress::make_decompressor(*compression, [&self](std::string_view bytes) {
    self.nar_position_ += bytes.size();
    // However much a small file decompresses to.
    if (self.nar_position_ > self.nar_size_) throw UncheckableFile("the NAR is too long");
    self.nar_hasher_.update(bytes);
  });
  return check;
}

void FileCheck::update(std::string_view bytes) {
  hasher_.update(bytes);
  if (!decompressor_) return;
  try {
    decompressor_->write(bytes);
  } catch (const compress::DecompressionError& error) {
    throw UncheckableFile(error.what());
  }
}

std::optional<nix::Sha256> FileCheck::finish() {
  const nix::Sha256 hash = hasher_.finish();
  if (is_uncompressed_ && hash != nar_hash_) return std::nullopt;
  if (file_hash_) return hash == *file_hash_ ? std::optional(hash) : std::nullopt;
  try {
    decompressor_->finish();
  } catch (const compress::DecompressionError& error) {
    throw UncheckableFile(error.what());
  }
  return nar_hasher_.finish() == nar_hash_ ? std::optional(hash) : std::nullopt;
}

std::optional<nix::Sha256Hasher> FileCheck::hasher() const {
  if (decompressor_) return std::nullopt;
  return hasher_;
}

}  // namespace nixbuild::proxy
