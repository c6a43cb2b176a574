#include "server/narcache/nar_reader.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <vector>

#include "server/store/nar_source.hpp"

namespace nixbuild::narcache {
namespace {

constexpr std::size_t block = 256 * 1024;

void read_file_part(const NarInput& input, const store::NarSource::Piece& piece,
                    std::vector<char>& buffer, const std::function<void(std::string_view)>& take) {
  std::uint64_t offset = piece.offset;
  std::uint64_t left = piece.length;
  while (left > 0) {
    const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(left, block));
    const ssize_t n = ::pread(piece.fd, buffer.data(), wanted, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw SystemError(errno, fmt::format("reading {}", input.path.string()));
    if (n == 0) throw DamagedPath(fmt::format("{}: a file shrank", input.path.string()));
    take(std::string_view(buffer.data(), static_cast<std::size_t>(n)));
    offset += static_cast<std::uint64_t>(n);
    left -= static_cast<std::uint64_t>(n);
  }
}

}  // namespace

void read_nar(const NarInput& input, const std::function<void(std::string_view)>& sink) {
  store::NarSource source(input.path);
  nix::Sha256Hasher hasher;
  std::uint64_t size = 0;
  const auto damaged = [&](std::string_view how) {
    return DamagedPath(
        fmt::format("{}: its NAR {} registered; check it with `nix-store --verify-path`",
                    input.path.string(), how));
  };
  const auto take = [&](std::string_view bytes) {
    size += bytes.size();
    if (size > input.size) throw damaged("is longer than");
    if (input.hash) hasher.update(bytes);
    sink(bytes);
  };
  std::vector<char> buffer(block);
  for (bool last = false; !last;) {
    const store::NarSource::Piece piece = source.next();
    if (!piece.bytes.empty()) take(piece.bytes);
    if (piece.fd >= 0) read_file_part(input, piece, buffer, take);
    last = piece.last;
  }
  if (size < input.size) throw damaged("is shorter than");
  if (input.hash && hasher.finish() != *input.hash) throw damaged("has another hash than");
}

}  // namespace nixbuild::narcache
