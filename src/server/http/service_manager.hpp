// What systemd is told of this service (sd_notify(3)). Without libsystemd, or when nobody listens
// on NOTIFY_SOCKET, all of this does nothing.
#pragma once

#include <chrono>
#include <optional>

namespace nixbuild::http::service_manager {

void ready();
void reloading();
void stopping();
void alive();

// How often `alive` is expected at least; nothing when no watchdog is set.
std::optional<std::chrono::microseconds> watchdog_interval();

}  // namespace nixbuild::http::service_manager
