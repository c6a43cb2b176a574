#include "server/cache/bzip2_reader.hpp"

#include <bzlib.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <utility>
#include <vector>

#include "common/base/error.hpp"

namespace nixbuild::cache {
namespace {

constexpr std::size_t input_piece = 64 * 1024;
constexpr std::size_t output_piece = 256 * 1024;

}  // namespace

struct Bzip2Reader::State {
  UniqueFd file;
  std::filesystem::path name;
  std::vector<char> input = std::vector<char>(input_piece);
  bz_stream stream{};
  bool in_stream = false;  // the library has allocated memory for a started stream
  bool ended = false;

  void begin() {
    const auto next_in = stream.next_in;
    const auto avail_in = stream.avail_in;
    stream = {};
    if (BZ2_bzDecompressInit(&stream, 0, 0) != BZ_OK) {
      throw Error(fmt::format("reading {}: no memory for bzip2", name.string()));
    }
    stream.next_in = next_in;
    stream.avail_in = avail_in;
    in_stream = true;
  }

  void end() {
    if (in_stream) BZ2_bzDecompressEnd(&stream);
    in_stream = false;
  }

  // False at the end of the file.
  bool fill() {
    if (stream.avail_in > 0) return true;
    ssize_t n = 0;
    do {
      n = ::read(file.get(), input.data(), input.size());
    } while (n < 0 && errno == EINTR);
    if (n < 0) throw SystemError(errno, fmt::format("reading {}", name.string()));
    stream.next_in = input.data();
    stream.avail_in = static_cast<unsigned>(n);
    return n > 0;
  }
};

Bzip2Reader::Bzip2Reader(UniqueFd file, std::filesystem::path name)
    : state_(std::make_unique<State>()) {
  state_->file = std::move(file);
  state_->name = std::move(name);
}

Bzip2Reader::~Bzip2Reader() {
  state_->end();
}

// A file may contain several concatenated streams, as written by parallel compressors.
std::string Bzip2Reader::read() {
  State& s = *state_;
  std::string output(output_piece, '\0');
  std::size_t size = 0;
  while (size < output.size() && !s.ended) {
    const bool more = s.fill();
    if (!s.in_stream) {
      if (!more) {
        s.ended = true;
        break;
      }
      s.begin();
    }
    s.stream.next_out = output.data() + size;
    s.stream.avail_out = static_cast<unsigned>(output.size() - size);
    const int result = BZ2_bzDecompress(&s.stream);
    size = output.size() - s.stream.avail_out;
    if (result == BZ_STREAM_END) {
      s.end();
    } else if (result != BZ_OK) {
      throw FormatError(fmt::format("reading {}: damaged, or no bzip2", s.name.string()));
    } else if (!more && s.stream.avail_out > 0) {
      throw FormatError(fmt::format("reading {}: it ends too early", s.name.string()));
    }
  }
  output.resize(size);
  return output;
}

}  // namespace nixbuild::cache
