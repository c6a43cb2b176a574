#include "common/compress/decompressor.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "common/compress/compressor.hpp"

using namespace nixbuild;
using namespace nixbuild::compress;

namespace {

std::string make_file(Compression compression, const std::string& content) {
  if (compression == Compression::none) return content;
  std::string file;
  make_compressor({compression, 3, 0}, content.size(), 1, [&](std::string_view piece) {
    file += piece;
  })->write(content);
  return file;
}

std::string read_file_of(Compression compression, const std::string& file, std::size_t piece) {
  std::string content;
  const auto decompressor =
      make_decompressor(compression, [&](std::string_view bytes) { content += bytes; });
  for (std::size_t i = 0; i < file.size(); i += piece)
    decompressor->write(std::string_view(file).substr(i, piece));
  decompressor->finish();
  return content;
}

}  // namespace

TEST_CASE("what was compressed is decompressed, in pieces of any size") {
  std::string content;
  for (int i = 0; i < 100'000; ++i)
    content += std::to_string(i);
  // 128 KiB are handed over at once: around that, too.
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{131'072}, std::size_t{131'073}, content.size()}) {
    const std::string part = content.substr(0, size);
    for (const auto compression : {Compression::none, Compression::zstd, Compression::xz}) {
      const std::string file = make_file(compression, part);
      for (const std::size_t piece : {std::size_t{7}, std::size_t{5'000}, file.size()}) {
        CHECK(read_file_of(compression, file, piece) == part);
      }
      if (compression == Compression::none) continue;
      CHECK(read_file_of(compression, file + file, 5'000) == part + part);
      CHECK_THROWS_AS(read_file_of(compression, file.substr(0, file.size() - 1), 5'000),
                      DecompressionError);
      CHECK_THROWS_AS(read_file_of(compression, file + "more", 5'000), DecompressionError);
      CHECK_THROWS_AS(read_file_of(compression, "", 1), DecompressionError);
    }
  }
}
