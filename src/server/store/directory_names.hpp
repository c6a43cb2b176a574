// The names in a directory, sorted, in as little memory as they need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nixbuild::store {

class DirectoryNames {
 public:
  // Replaces what it holds by the names in the directory that is open as `fd`, without "." and
  // "..", in the order of their bytes. Returns 0 or an error number.
  int read(int fd);

  std::size_t size() const noexcept { return entries_.size(); }
  std::string_view name(std::size_t position) const noexcept {
    const Entry& entry = entries_[position];
    return {names_.data() + entry.offset, entry.length};
  }
  // With a NUL at its end.
  const char* c_name(std::size_t position) const noexcept {
    return names_.data() + entries_[position].offset;
  }
  // DT_REG and so on, DT_UNKNOWN where the file system does not tell.
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
