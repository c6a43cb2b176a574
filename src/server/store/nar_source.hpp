// The NAR of a store path as a sequence of pieces: framing and small files as bytes, large files as
// open files to be sent without copying.
#pragma once

#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <string_view>

namespace nixbuild::store {

class NarSource {
 public:
  // Opens nothing before the first next(), and nothing outside `path`: symlinks inside are read,
  // never followed.
  explicit NarSource(std::filesystem::path path);
  ~NarSource();
  NarSource(NarSource&&) noexcept;
  NarSource& operator=(NarSource&&) noexcept;

  struct Piece {
    std::string_view bytes;  // valid until the next call
    int fd = -1;             // if >= 0, `length` bytes of this file from `offset` follow `bytes`
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    bool last = false;
  };

  // Starts at byte `offset` of the NAR; reads no file contents before it. Only before the first
  // next().
  void seek(std::uint64_t offset);

  // The next piece. Bytes come in pieces of about 64 to 256 KiB. While much is being skipped, it
  // returns empty pieces, so that the caller can yield. Throws SystemError (ENOENT: the path was
  // deleted) and Error (a file's size changed meanwhile).
  Piece next();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Whether next() failed because of the path itself: it was deleted, cannot be read, or contains
// something that a NAR cannot. Running out of descriptors or memory is not the path's fault.
bool blames_path(const std::exception& error) noexcept;

}  // namespace nixbuild::store
