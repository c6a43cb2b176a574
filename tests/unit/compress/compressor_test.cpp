#include "common/compress/compressor.hpp"

#include <doctest/doctest.h>
#include <lzma.h>
#include <zstd.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.hpp"

using namespace nixbuild;
using namespace nixbuild::compress;

namespace {

// Like a NAR of programs: some parts repeat, some are incompressible.
std::string sample(std::size_t size) {
  std::mt19937_64 random(42);
  std::string bytes;
  bytes.reserve(size + 4096);
  while (bytes.size() < size) {
    if (random() % 3 == 0 && bytes.size() > 10'000) {
      bytes.append(bytes, random() % (bytes.size() - 5'000), 3'000);
    } else {
      for (int i = 0; i < 100; ++i)
        bytes.push_back(static_cast<char>(random() % 64));
    }
  }
  bytes.resize(size);
  return bytes;
}

// `cuts`: the sizes of the pieces, used in turn.
std::string compress_in_pieces(Compression compression, int level, std::string_view bytes,
                               unsigned threads, const std::vector<std::size_t>& cuts) {
  std::string result;
  const auto compressor = make_compressor({compression, level, 0}, bytes.size(), threads,
                                          [&](std::string_view out) { result += out; });
  for (std::size_t turn = 0; !bytes.empty(); ++turn) {
    const std::size_t size = std::min(cuts[turn % cuts.size()], bytes.size());
    compressor->write(bytes.substr(0, size));
    bytes.remove_prefix(size);
  }
  return result;
}

std::string decompress_zstd(std::string_view bytes, std::size_t size) {
  std::string result(size + 1, '\0');
  const std::size_t n = ZSTD_decompress(result.data(), result.size(), bytes.data(), bytes.size());
  REQUIRE_FALSE(ZSTD_isError(n));
  result.resize(n);
  return result;
}

std::string decompress_xz(std::string_view bytes, std::size_t size) {
  std::string result(size + 1, '\0');
  std::uint64_t memory = UINT64_MAX;
  std::size_t in = 0;
  std::size_t out = 0;
  REQUIRE(lzma_stream_buffer_decode(&memory, 0, nullptr,
                                    reinterpret_cast<const std::uint8_t*>(bytes.data()), &in,
                                    bytes.size(), reinterpret_cast<std::uint8_t*>(result.data()),
                                    &out, result.size()) == LZMA_OK);
  REQUIRE(in == bytes.size());
  result.resize(out);
  return result;
}

void check_independence(Compression compression, int level, const std::string& bytes) {
  const std::string whole = compress_in_pieces(compression, level, bytes, 1, {bytes.size()});
  CHECK(compress_in_pieces(compression, level, bytes, 2, {bytes.size()}) == whole);
  CHECK(compress_in_pieces(compression, level, bytes, 3, {64 * 1024}) == whole);
  CHECK(compress_in_pieces(compression, level, bytes, 1, {256 * 1024}) == whole);
  CHECK(compress_in_pieces(compression, level, bytes, 5, {1, 999'999, 13, 70'000, 4'194'304}) ==
        whole);
  // The last byte by itself, and a last piece that completes many blocks at once.
  CHECK(compress_in_pieces(compression, level, bytes, 2, {bytes.size() - 1, 1}) == whole);
  CHECK(compress_in_pieces(compression, level, bytes, 2, {1, bytes.size() - 1}) == whole);
}

}  // namespace

TEST_CASE("zstd: neither threads nor cuts change a byte, and it decompresses to the input") {
  // Around the library's job size (8 MiB at these levels), where the input ends near the end of a
  // job.
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{96}, std::size_t{524'288}, std::size_t{524'289},
        std::size_t{8} << 20, (std::size_t{8} << 20) + 1, std::size_t{16} << 20,
        std::size_t{20'000'003}}) {
    CAPTURE(size);
    const std::string bytes = sample(size);
    if (size > 1) check_independence(Compression::zstd, 3, bytes);
    CHECK(decompress_zstd(compress_in_pieces(Compression::zstd, 3, bytes, 2, {100'000}), size) ==
          bytes);
  }
  check_independence(Compression::zstd, 1, sample(9'000'000));
  check_independence(Compression::zstd, 9, sample(9'000'000));
}

TEST_CASE("xz: neither threads nor cuts change a byte, and it decompresses to the input") {
  for (const std::size_t size : {std::size_t{1}, std::size_t{96}, std::size_t{3'145'728},
                                 std::size_t{3'145'729}, std::size_t{5'000'000}}) {
    CAPTURE(size);
    const std::string bytes = sample(size);
    // Level 0 has blocks of 1 MiB, so there are many blocks within a short time.
    if (size > 1) check_independence(Compression::xz, 0, bytes);
    CHECK(decompress_xz(compress_in_pieces(Compression::xz, 0, bytes, 2, {100'000}), size) ==
          bytes);
  }
  const std::string bytes = sample(2'000'000);
  CHECK(compress_in_pieces(Compression::xz, 6, bytes, 1, {bytes.size()}) ==
        compress_in_pieces(Compression::xz, 6, bytes, 4, {65'536}));
  CHECK(decompress_xz(compress_in_pieces(Compression::xz, 6, bytes, 1, {bytes.size()}),
                      bytes.size()) == bytes);
}

TEST_CASE("a zstd result tells its size, which clients use to make room") {
  const std::string bytes = sample(3'000'000);
  const std::string compressed = compress_in_pieces(Compression::zstd, 3, bytes, 2, {65'536});
  CHECK(ZSTD_getFrameContentSize(compressed.data(), compressed.size()) == bytes.size());
}

TEST_CASE("bytes come out while the input still goes in") {
  const std::string bytes = sample(64 << 20);
  std::size_t fed = 0;
  std::size_t fed_at_first = 0;
  const auto compressor =
      make_compressor({Compression::zstd, 3, 0}, bytes.size(), 1, [&](std::string_view) {
        if (fed_at_first == 0) fed_at_first = fed;
      });
  while (fed < bytes.size()) {
    const std::size_t size = std::min<std::size_t>(65'536, bytes.size() - fed);
    fed += size;
    compressor->write(std::string_view(bytes).substr(fed - size, size));
  }
  CHECK(fed_at_first < bytes.size() / 2);
}

TEST_CASE("more bytes than were announced are an error") {
  const auto compressor =
      make_compressor({Compression::zstd, 3, 0}, 10, 1, [](std::string_view) {});
  compressor->write("0123456789");
  CHECK_THROWS_AS(compressor->write("x"), Error);
}

TEST_CASE("what the sink throws comes through") {
  for (const Compression compression : {Compression::zstd, Compression::xz}) {
    const auto compressor = make_compressor({compression, 1, 0}, 5, 1,
                                            [](std::string_view) { throw UsageError("full"); });
    CHECK_THROWS_AS(compressor->write("01234"), UsageError);
  }
}

TEST_CASE("a recipe's tag names level and library, and nothing else parses") {
  CHECK(tag_of({Compression::zstd, 3, 10504}) == "z3v10504");
  CHECK(tag_of({Compression::xz, 6, 50040012}) == "x6v50040012");
  for (const Recipe& recipe : {recipe_of(Compression::zstd, 19), recipe_of(Compression::xz, 0)}) {
    CHECK(recipe.library > 0);
    CHECK(parse_tag(tag_of(recipe)) == recipe);
  }
  for (const char* tag : {"", "z", "z3", "zv1", "3v1", "z3v", "z3v0", "z03v1", "z-1v1", "z+1v1",
                          "z3v1 ", "Z3v1", "z3v99999999999", "z99999999999v1", "z3v1v1", "z3x1"}) {
    CAPTURE(tag);
    CHECK_FALSE(parse_tag(tag));
  }
}
