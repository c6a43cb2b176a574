// Compresses a NAR so that the result is a function of the NAR's bytes, the format, the level and
// the library alone: neither the number of threads nor how the input is cut changes a byte. A
// client whose download was cut may therefore go on with bytes of a second compression.
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

  // Takes the next bytes of the NAR and hands compressed bytes to the sink as they come out. With
  // the NAR's last byte the result is completed. Throws Error when there are more bytes than were
  // announced, and what the sink throws.
  virtual void write(std::string_view bytes) = 0;
  // What it takes, about, in bytes. May be asked from within the sink.
  virtual std::uint64_t memory() const = 0;
};

// `size` is that of the whole NAR, in bytes, and is known before its first byte. The recipe's level
// is one that config::check_level takes, its compression not none; `threads` is at least 1. Throws
// Error when the library has no memory for that.
std::unique_ptr<Compressor> make_compressor(const Recipe& recipe, std::uint64_t size,
                                            unsigned threads, Compressor::Sink sink);

}  // namespace nixbuild::compress
