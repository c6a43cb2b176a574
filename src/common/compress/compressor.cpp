#include "common/compress/compressor.hpp"

#include <fmt/format.h>
#include <lzma.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>
#include <vector>

#include "common/base/error.hpp"

namespace nixbuild::compress {
namespace {

constexpr std::size_t output_piece = 256 * 1024;  // the most bytes handed to the sink at once

// Counts the input against the announced size. The result must be completed with the last byte:
// completing it by a later, empty write could split the last block differently.
class SizedCompressor : public Compressor {
 public:
  SizedCompressor(std::uint64_t size, Sink sink)
      : sink_(std::move(sink)), left_(size), output_(output_piece) {}

  void write(std::string_view bytes) final {
    if (bytes.size() > left_) throw Error("compressing a NAR: it is longer than it should be");
    if (bytes.empty()) return;
    left_ -= bytes.size();
    compress(bytes, left_ == 0);
  }

 protected:
  virtual void compress(std::string_view bytes, bool last) = 0;

  void emit(std::size_t count) {
    if (count > 0) sink_(std::string_view(output_.data(), count));
  }
  std::vector<char>& output() { return output_; }

 private:
  Sink sink_;
  std::uint64_t left_;
  std::vector<char> output_;
};

// The library splits the input into jobs of one size. One thread compresses each job, with the end
// of the previous job as its dictionary. The jobs are the same for any number of workers, but
// without workers the input is compressed as a whole, to other bytes, so there is always at least
// one.
class ZstdCompressor final : public SizedCompressor {
 public:
  ZstdCompressor(int level, std::uint64_t size, unsigned threads, Sink sink)
      : SizedCompressor(size, std::move(sink)), context_(ZSTD_createCCtx()) {
    if (!context_) throw Error("compressing a NAR: no memory for zstd");
    set(ZSTD_c_compressionLevel, level);
    set(ZSTD_c_contentSizeFlag, 1);
    // The narinfo's NarHash covers the content already.
    set(ZSTD_c_checksumFlag, 0);
    const ZSTD_bounds workers = ZSTD_cParam_getBounds(ZSTD_c_nbWorkers);
    if (workers.upperBound > 0) {  // otherwise libzstd has no threads, and only one way to compress
      set(ZSTD_c_nbWorkers, std::clamp(static_cast<int>(threads), 1, workers.upperBound));
      // The library's defaults for the level, which depend on level and size alone.
      set(ZSTD_c_jobSize, 0);
      set(ZSTD_c_overlapLog, 0);
    }
    check(ZSTD_CCtx_setPledgedSrcSize(context_.get(), size));
  }

  std::uint64_t memory() const override { return ZSTD_sizeof_CCtx(context_.get()); }

 private:
  struct FreeContext {
    void operator()(ZSTD_CCtx* context) const noexcept { ZSTD_freeCCtx(context); }
  };

  static std::size_t check(std::size_t result) {
    if (ZSTD_isError(result) != 0) {
      throw Error(fmt::format("compressing a NAR with zstd: {}", ZSTD_getErrorName(result)));
    }
    return result;
  }

  void set(ZSTD_cParameter parameter, int value) {
    check(ZSTD_CCtx_setParameter(context_.get(), parameter, value));
  }

  void compress(std::string_view bytes, bool last) override {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    for (;;) {
      ZSTD_outBuffer out{output().data(), output().size(), 0};
      const std::size_t remaining = check(
          ZSTD_compressStream2(context_.get(), &out, &in, last ? ZSTD_e_end : ZSTD_e_continue));
      emit(out.pos);
      if (last ? remaining == 0 : in.pos == in.size) return;
    }
  }

  std::unique_ptr<ZSTD_CCtx, FreeContext> context_;
};

class XzCompressor final : public SizedCompressor {
 public:
  XzCompressor(int level, std::uint64_t size, unsigned threads, Sink sink)
      : SizedCompressor(size, std::move(sink)) {
    lzma_options_lzma options{};
    if (lzma_lzma_preset(&options, static_cast<std::uint32_t>(level)) != 0) {
      throw Error(fmt::format("compressing a NAR with xz: no level {}", level));
    }
    // A dictionary larger than the input only costs memory, and time to clear it.
    constexpr std::uint64_t least = 64 * 1024;
    while (options.dict_size / 2 >= std::max(size, least))
      options.dict_size /= 2;
    const std::array<lzma_filter, 2> filters{
        {{LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, nullptr}}};
    lzma_mt mt{};
    mt.threads = std::max(1U, threads);
    // The xz command's default; one thread compresses each block.
    mt.block_size = std::max(std::uint64_t{3} * options.dict_size, std::uint64_t{1} << 20);
    mt.filters = filters.data();
    mt.check = LZMA_CHECK_CRC64;
    if (lzma_stream_encoder_mt(&stream_, &mt) != LZMA_OK) {
      throw Error("compressing a NAR: no memory for xz");
    }
    memory_ = lzma_stream_encoder_mt_memusage(&mt);
  }
  ~XzCompressor() override { lzma_end(&stream_); }
  XzCompressor(const XzCompressor&) = delete;
  XzCompressor& operator=(const XzCompressor&) = delete;

  std::uint64_t memory() const override { return memory_; }

 private:
  void compress(std::string_view bytes, bool last) override {
    stream_.next_in = reinterpret_cast<const std::uint8_t*>(bytes.data());
    stream_.avail_in = bytes.size();
    for (;;) {
      stream_.next_out = reinterpret_cast<std::uint8_t*>(output().data());
      stream_.avail_out = output().size();
      const lzma_ret result = lzma_code(&stream_, last ? LZMA_FINISH : LZMA_RUN);
      if (result != LZMA_OK && result != LZMA_STREAM_END && result != LZMA_BUF_ERROR) {
        throw Error(fmt::format("compressing a NAR with xz: error {}", static_cast<int>(result)));
      }
      emit(output().size() - stream_.avail_out);
      if (last ? result == LZMA_STREAM_END : stream_.avail_in == 0) return;
    }
  }

  lzma_stream stream_ = LZMA_STREAM_INIT;
  std::uint64_t memory_ = 0;
};

}  // namespace

std::unique_ptr<Compressor> make_compressor(const Recipe& recipe, std::uint64_t size,
                                            unsigned threads, Compressor::Sink sink) {
  if (recipe.compression == Compression::xz) {
    return std::make_unique<XzCompressor>(recipe.level, size, threads, std::move(sink));
  }
  return std::make_unique<ZstdCompressor>(recipe.level, size, threads, std::move(sink));
}

}  // namespace nixbuild::compress
