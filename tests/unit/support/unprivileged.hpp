// Drops root's rights for a while, to test what an ordinary user may not do.
#pragma once

#include <stdlib.h>
#include <unistd.h>

namespace nixbuild::test {

// While it exists, a process of root has the rights of an ordinary user.
class Unprivileged {
 public:
  Unprivileged() : group_(::getegid()), user_(::geteuid()) {
    if (user_ != 0) return;
    changed_ = ::setegid(65534) == 0 && ::seteuid(65534) == 0;
  }
  ~Unprivileged() {
    if (changed_ && (::seteuid(user_) != 0 || ::setegid(group_) != 0)) ::abort();
  }
  Unprivileged(const Unprivileged&) = delete;
  Unprivileged& operator=(const Unprivileged&) = delete;

 private:
  gid_t group_;
  uid_t user_;
  bool changed_ = false;
};

}  // namespace nixbuild::test
