// Decompresses a .bz2 file in pieces of bounded size.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "common/base/unique_fd.hpp"

namespace nixbuild::cache {

class Bzip2Reader {
 public:
  // `name` is for messages.
  Bzip2Reader(UniqueFd file, std::filesystem::path name);
  ~Bzip2Reader();
  Bzip2Reader(const Bzip2Reader&) = delete;
  Bzip2Reader& operator=(const Bzip2Reader&) = delete;

  // The next bytes; empty at the end. Throws SystemError, and FormatError if the file is truncated
  // or not in bzip2 format.
  std::string read();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nixbuild::cache
