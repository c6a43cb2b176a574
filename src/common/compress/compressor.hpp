// Compresses a NAR so that the result depends only on the NAR's bytes, the format, the level and
// the library: neither the number of threads nor the size of the input pieces changes a byte. An
// interrupted download can therefore be resumed from another compression.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "common/compress/compression.hpp"

namespace nixbuild::compress {

class Compressor {
 public:
  using Sink = std::function<void(std::string_view bytes)>;

  virtual ~Compressor() = default;

  // Compresses the next bytes of the NAR and hands output to the sink as it is produced. The NAR's
  // last byte completes the result. Throws Error if there are more bytes than announced, and what
  // the sink throws.
  virtual void write(std::string_view bytes) = 0;
  // Approximate memory use in bytes. The sink may call it.
  virtual std::uint64_t memory() const = 0;
};

// `size` is the size of the whole NAR in bytes. The recipe must have a compression other than none
// and a level that config::check_level accepts; `threads` is at least 1. Throws Error if the
// library cannot allocate memory.
std::unique_ptr<Compressor> make_compressor(const Recipe& recipe, std::uint64_t size,
                                            unsigned threads, Compressor::Sink sink);

}  // namespace nixbuild::compress
