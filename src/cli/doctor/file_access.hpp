// Who can access a file, judged by owners, groups and modes, so that it works for other users.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace nixbuild::cli {

struct UserIds {
  std::string name;
  uid_t user = 0;
  std::vector<gid_t> groups;
};

// Nothing if there is no such user.
std::optional<UserIds> find_user(const std::string& name);
UserIds this_user();

// Permission bits, as in the last three of a mode.
constexpr mode_t may_read = 4;
constexpr mode_t may_write = 2;

// Whether `user` has these permissions on `path` and can traverse every directory above it. False
// if it does not exist. Access control lists are ignored.
bool has_access(const UserIds& user, const std::filesystem::path& path, mode_t wanted);

// Who can read a file: its owner and, if the mode allows it, the members of its group.
struct Readers {
  mode_t mode = 0;  // permission bits
  std::string owner;
  std::string group;                 // empty: the group cannot read it
  std::vector<std::string> members;  // of the group
  bool everybody = false;
};
std::optional<Readers> readers_of(const std::filesystem::path& path);

}  // namespace nixbuild::cli
