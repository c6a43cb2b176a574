#include "server/http/service_manager.hpp"

#ifdef NIXBUILD_SYSTEMD
#include <fmt/format.h>
#include <systemd/sd-daemon.h>

#include <cstdint>
#include <ctime>
#include <string>
#endif

namespace nixbuild::http::service_manager {

#ifdef NIXBUILD_SYSTEMD

void ready() {
  ::sd_notify(0, "READY=1");
}

void reloading() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const std::int64_t microseconds = std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
  ::sd_notify(0, fmt::format("RELOADING=1\nMONOTONIC_USEC={}", microseconds).c_str());
}

void stopping() {
  ::sd_notify(0, "STOPPING=1");
}
void alive() {
  ::sd_notify(0, "WATCHDOG=1");
}

std::optional<std::chrono::microseconds> watchdog_interval() {
  std::uint64_t microseconds = 0;
  if (::sd_watchdog_enabled(0, &microseconds) <= 0) return std::nullopt;
  return std::chrono::microseconds(microseconds);
}

#else

void ready() {}
void reloading() {}
void stopping() {}
void alive() {}
std::optional<std::chrono::microseconds> watchdog_interval() {
  return std::nullopt;
}

#endif

}  // namespace nixbuild::http::service_manager
