#include "server/store/directory_names.hpp"

#include <dirent.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>

namespace nixbuild::store {

int DirectoryNames::read(int fd) {
  names_.clear();
  entries_.clear();
  // Call getdents64 directly: readdir(3) would allocate a stream and a buffer for each directory.
  alignas(dirent64) std::array<char, 32768> buffer;
  for (;;) {
    const long count = ::syscall(SYS_getdents64, fd, buffer.data(), buffer.size());
    if (count < 0) return errno;
    if (count == 0) break;
    for (long position = 0; position < count;) {
      const char* const record = buffer.data() + position;
      std::uint16_t record_length = 0;
      std::memcpy(&record_length, record + offsetof(dirent64, d_reclen), sizeof(record_length));
      const std::string_view name = record + offsetof(dirent64, d_name);
      if (name != "." && name != "..") {
        if (names_.size() > std::numeric_limits<std::uint32_t>::max()) return EFBIG;
        entries_.push_back({static_cast<std::uint32_t>(names_.size()),
                            static_cast<std::uint16_t>(name.size()),
                            static_cast<unsigned char>(record[offsetof(dirent64, d_type)])});
        names_.append(name).push_back('\0');
      }
      position += record_length;
    }
  }
  std::sort(entries_.begin(), entries_.end(), [this](const Entry& left, const Entry& right) {
    return std::string_view(names_.data() + left.offset, left.length) <
           std::string_view(names_.data() + right.offset, right.length);
  });
  return 0;
}

}  // namespace nixbuild::store
