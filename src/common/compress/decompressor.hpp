// Decompresses a NAR that comes piece by piece.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "common/base/error.hpp"
#include "common/compress/compression.hpp"

namespace nixbuild::compress {

// The bytes are not in the format, or need more memory than a decompressor may take: 32 MiB for the
// window of zstd, 80 MiB for xz, which is what their highest usual levels need.
class DecompressionError : public Error {
 public:
  using Error::Error;
};

class Decompressor {
 public:
  using Sink = std::function<void(std::string_view bytes)>;

  virtual ~Decompressor() = default;

  // Hands output to the sink as it is produced. Throws DecompressionError, and what the sink
  // throws.
  virtual void write(std::string_view bytes) = 0;
  // Throws DecompressionError unless what was written is whole.
  virtual void finish() = 0;
};

// With Compression::none, the output is the input.
std::unique_ptr<Decompressor> make_decompressor(Compression compression, Decompressor::Sink sink);

}  // namespace nixbuild::compress
