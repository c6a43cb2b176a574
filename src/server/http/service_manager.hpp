// Notifies systemd of this service's state (sd_notify(3)). Does nothing without libsystemd or
// without NOTIFY_SOCKET.
#pragma once

#include <chrono>
#include <optional>

namespace nixbuild::http::service_manager {

void ready();
void reloading();
void stopping();
void alive();

// The longest interval that systemd allows between calls of alive(); nothing if there is no
// watchdog.
std::optional<std::chrono::microseconds> watchdog_interval();

}  // namespace nixbuild::http::service_manager
