// How long nothing has come on a connection.
#pragma once

#include <algorithm>
#include <chrono>

namespace nixbuild::net {

// By the longer of two clocks: the steady one stands still while a laptop sleeps, so that only the
// system's shows, on waking up, that the connection is an old one; and that one may be set back.
class SilenceClock {
 public:
  using Steady = std::chrono::steady_clock::time_point;
  using System = std::chrono::system_clock::time_point;

  void restart(Steady steady = std::chrono::steady_clock::now(),
               System system = std::chrono::system_clock::now()) {
    steady_ = steady;
    system_ = system;
  }

  std::chrono::milliseconds elapsed(Steady steady = std::chrono::steady_clock::now(),
                                    System system = std::chrono::system_clock::now()) const {
    using std::chrono::duration_cast;
    using std::chrono::milliseconds;
    return std::max(duration_cast<milliseconds>(steady - steady_),
                    duration_cast<milliseconds>(system - system_));
  }

 private:
  Steady steady_;
  System system_;
};

}  // namespace nixbuild::net
