#include "common/compress/decompressor.hpp"

#include <fmt/format.h>
#include <lzma.h>
#include <zstd.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace nixbuild::compress {
namespace {

constexpr std::size_t decoded_piece =
    std::size_t{128} * 1024;                                  // the most bytes handed over at once
constexpr int largest_window = 25;                            // log2 of bytes
constexpr std::uint64_t xz_memory = std::uint64_t{80} << 20;  // bytes

class PlainDecompressor final : public Decompressor {
 public:
  explicit PlainDecompressor(Sink sink) : sink_(std::move(sink)) {}
  void write(std::string_view bytes) override { sink_(bytes); }
  void finish() override {}

 private:
  Sink sink_;
};

// Several frames are one file, as for `zstd -d`.
class ZstdDecompressor final : public Decompressor {
 public:
  explicit ZstdDecompressor(Sink sink)
      : sink_(std::move(sink)), context_(ZSTD_createDCtx()), output_(decoded_piece) {
    if (!context_) throw DecompressionError("no memory for zstd");
    ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, largest_window);
  }

  void write(std::string_view bytes) override {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    for (bool full = false; in.pos < in.size || full;) {
      ZSTD_outBuffer out{output_.data(), output_.size(), 0};
      const std::size_t result = ZSTD_decompressStream(context_.get(), &out, &in);
      if (ZSTD_isError(result) != 0) {
        throw DecompressionError(fmt::format("zstd: {}", ZSTD_getErrorName(result)));
      }
      is_whole_ = result == 0;
      full = out.pos == out.size && !is_whole_;
      if (out.pos > 0) sink_(std::string_view(output_.data(), out.pos));
    }
  }

  void finish() override {
    if (!is_whole_) throw DecompressionError("zstd: the end is missing");
  }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
  };

  Sink sink_;
  std::unique_ptr<ZSTD_DCtx, Free> context_;
  std::vector<char> output_;
  bool is_whole_ = false;
};

class XzDecompressor final : public Decompressor {
 public:
  explicit XzDecompressor(Sink sink) : sink_(std::move(sink)), output_(decoded_piece) {
    if (lzma_stream_decoder(&stream_, xz_memory, LZMA_CONCATENATED) != LZMA_OK) {
      throw DecompressionError("no memory for xz");
    }
  }
  ~XzDecompressor() override { lzma_end(&stream_); }
  XzDecompressor(const XzDecompressor&) = delete;
  XzDecompressor& operator=(const XzDecompressor&) = delete;

  void write(std::string_view bytes) override { run(bytes, LZMA_RUN); }
  void finish() override {
    run({}, LZMA_FINISH);
    if (!is_whole_) throw DecompressionError("xz: the end is missing");
  }

 private:
  void run(std::string_view bytes, lzma_action action) {
    stream_.next_in = reinterpret_cast<const std::uint8_t*>(bytes.data());
    stream_.avail_in = bytes.size();
    for (;;) {
      stream_.next_out = reinterpret_cast<std::uint8_t*>(output_.data());
      stream_.avail_out = output_.size();
      const lzma_ret result = lzma_code(&stream_, action);
      const std::size_t produced = output_.size() - stream_.avail_out;
      if (produced > 0) sink_(std::string_view(output_.data(), produced));
      if (result == LZMA_STREAM_END) is_whole_ = true;
      // What can go no further without more input is no error.
      if (result == LZMA_STREAM_END || result == LZMA_BUF_ERROR) return;
      if (result != LZMA_OK) throw DecompressionError(fmt::format("xz: error {}", int{result}));
      if (stream_.avail_in == 0 && stream_.avail_out > 0 && action == LZMA_RUN) return;
    }
  }

  Sink sink_;
  lzma_stream stream_ = LZMA_STREAM_INIT;
  std::vector<char> output_;
  bool is_whole_ = false;
};

}  // namespace

std::unique_ptr<Decompressor> make_decompressor(Compression compression, Decompressor::Sink sink) {
  switch (compression) {
    case Compression::zstd:
      return std::make_unique<ZstdDecompressor>(std::move(sink));
    case Compression::xz:
      return std::make_unique<XzDecompressor>(std::move(sink));
    case Compression::none:
      break;
  }
  return std::make_unique<PlainDecompressor>(std::move(sink));
}

}  // namespace nixbuild::compress
