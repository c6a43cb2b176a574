// Measures how long nothing has arrived on a connection.
#pragma once

#include <algorithm>
#include <chrono>

namespace nixbuild::net {

// Uses the longer time of two clocks. The steady clock stops while a laptop sleeps, so only the
// system clock shows after waking up that the connection is old; the system clock, in turn, may be
// set back.
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
