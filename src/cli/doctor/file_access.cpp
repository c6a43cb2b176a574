#include "cli/doctor/file_access.hpp"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace nixbuild::cli {
namespace {

constexpr mode_t may_pass = 1;
constexpr int most_groups = 1024;

std::string user_name(uid_t id) {
  const passwd* entry = ::getpwuid(id);
  return entry != nullptr ? entry->pw_name : fmt::format("user {}", id);
}

bool allows(const UserIds& user, const struct stat& status, mode_t wanted) {
  if (user.user == 0) return true;
  unsigned shift = 0;
  if (status.st_uid == user.user) {
    shift = 6;
  } else if (std::find(user.groups.begin(), user.groups.end(), status.st_gid) !=
             user.groups.end()) {
    shift = 3;
  }
  return ((status.st_mode >> shift) & wanted) == wanted;
}

}  // namespace

std::optional<UserIds> find_user(const std::string& name) {
  const passwd* entry = ::getpwnam(name.c_str());
  if (entry == nullptr) return std::nullopt;
  UserIds user{name, entry->pw_uid, {}};
#ifdef __APPLE__
  std::vector<int> groups(most_groups);
  int count = most_groups;
  ::getgrouplist(name.c_str(), static_cast<int>(entry->pw_gid), groups.data(), &count);
#else
  std::vector<gid_t> groups(most_groups);
  int count = most_groups;
  ::getgrouplist(name.c_str(), entry->pw_gid, groups.data(), &count);
#endif
  for (int i = 0; i < std::min(count, most_groups); ++i)
    user.groups.push_back(static_cast<gid_t>(groups[static_cast<std::size_t>(i)]));
  return user;
}

UserIds this_user() {
  UserIds user{user_name(::geteuid()), ::geteuid(), {}};
  user.groups.resize(most_groups);
  const int count = ::getgroups(most_groups, user.groups.data());
  user.groups.resize(static_cast<std::size_t>(std::max(count, 0)));
  user.groups.push_back(::getegid());
  return user;
}

bool has_access(const UserIds& user, const std::filesystem::path& path, mode_t wanted) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(path, error);
  if (error) return false;
  struct stat status {};
  if (::stat(real.c_str(), &status) != 0 || !allows(user, status, wanted)) return false;
  for (std::filesystem::path at = real; at != at.parent_path();) {
    at = at.parent_path();
    if (::stat(at.c_str(), &status) != 0 || !allows(user, status, may_pass)) return false;
  }
  return true;
}

std::optional<Readers> readers_of(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  Readers readers;
  readers.mode = status.st_mode & 07777U;
  readers.owner = user_name(status.st_uid);
  readers.everybody = (status.st_mode & S_IROTH) != 0;
  if ((status.st_mode & S_IRGRP) != 0) {
    const group* entry = ::getgrgid(status.st_gid);
    readers.group = entry != nullptr ? entry->gr_name : fmt::format("group {}", status.st_gid);
    for (char** member = entry != nullptr ? entry->gr_mem : nullptr;
         member != nullptr && *member != nullptr; ++member) {
      readers.members.emplace_back(*member);
    }
  }
  return readers;
}

}  // namespace nixbuild::cli
