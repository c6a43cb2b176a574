// The NAR of a store path as a sequence of pieces: framing and small files as bytes, large files as
// an open file to be sent without copying.
#pragma once

#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <string_view>

namespace nixbuild::store {

class NarSource {
 public:
  // Nothing is opened before the first next(). Opens nothing outside `path`: symlinks inside are
  // read, never followed.
  explicit NarSource(std::filesystem::path path);
  ~NarSource();
  NarSource(NarSource&&) noexcept;
  NarSource& operator=(NarSource&&) noexcept;

  struct Piece {
    std::string_view bytes;  // holds until the next call
    int fd = -1;             // >= 0: `length` bytes of this file from `offset` come behind `bytes`
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    bool last = false;
  };

  // Begins at byte `offset` of the NAR instead of its beginning; reads no content before it. Only
  // before the first next().
  void seek(std::uint64_t offset);

  // The next piece. Bytes come some 64 to 256 KiB at a time; a piece with nothing in it comes,
  // again and again, where much is left out: others may then have their turn. Throws SystemError
  // (ENOENT: the path is gone) and Error (a file changed its size meanwhile).
  Piece next();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Whether this failure of next() lies in the path itself: it is gone, cannot be read, or holds what
// a NAR cannot. A process without descriptors or memory says nothing about the path.
bool blames_path(const std::exception& error) noexcept;

}  // namespace nixbuild::store
