// Who can get at a file, by owners, groups and modes: asked for users whom this process is not.
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

// Nothing where there is no such user.
std::optional<UserIds> find_user(const std::string& name);
UserIds this_user();

// Permission bits, as in the last three of a mode.
constexpr mode_t may_read = 4;
constexpr mode_t may_write = 2;

// Whether `user` has these permissions on `path` and may pass every directory above it. False where
// it does not exist. Access control lists are not looked at.
bool has_access(const UserIds& user, const std::filesystem::path& path, mode_t wanted);

// Who can read a file: its owner and, where the mode lets them, the members of its group.
struct Readers {
  mode_t mode = 0;  // permission bits
  std::string owner;
  std::string group;                 // empty: it cannot
  std::vector<std::string> members;  // of the group
  bool everybody = false;
};
std::optional<Readers> readers_of(const std::filesystem::path& path);

}  // namespace nixbuild::cli
