// The sorted names in a directory, stored compactly.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nixbuild::store {

class DirectoryNames {
 public:
  // Replaces the contents with the names in the directory open as `fd`, without "." and "..", in
  // byte order. Returns 0 or an error number.
  int read(int fd);

  std::size_t size() const noexcept { return entries_.size(); }
  std::string_view name(std::size_t position) const noexcept {
    const Entry& entry = entries_[position];
    return {names_.data() + entry.offset, entry.length};
  }
  // NUL-terminated.
  const char* c_name(std::size_t position) const noexcept {
    return names_.data() + entries_[position].offset;
  }
  // DT_REG and so on, DT_UNKNOWN if the file system does not provide it.
  unsigned char type(std::size_t position) const noexcept { return entries_[position].type; }

 private:
  struct Entry {
    std::uint32_t offset;
    std::uint16_t length;
    unsigned char type;
  };
  std::string names_;
  std::vector<Entry> entries_;
};

}  // namespace nixbuild::store
