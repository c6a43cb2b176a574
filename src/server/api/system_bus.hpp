// A client for systemd on the system D-Bus. Nothing here blocks for longer than 5 s, except waiting
// for the end of a job.
//
// Source: the D-Bus interface of systemd, org.freedesktop.systemd1(5).
#pragma once

#include <systemd/sd-bus.h>

#include <memory>
#include <optional>
#include <string>

namespace nixbuild::api {

// A separate connection, for one thread at a time. Every function throws RunnerError, with advice,
// if the bus or systemd does not carry out a request.
class SystemBus {
 public:
  // Connects to the bus in DBUS_SYSTEM_BUS_ADDRESS, by default the system's.
  SystemBus();
  ~SystemBus();
  SystemBus(const SystemBus&) = delete;
  SystemBus& operator=(const SystemBus&) = delete;

  void stop_unit(const std::string& unit);
  // Queues the start. If a start is already in progress, does not queue another one.
  void start_unit(const std::string& unit);
  // The result of start_unit()'s job: "done", or systemd's reason for the failure ("failed",
  // "canceled", "dependency", …). For a oneshot unit, the job ends with the unit. Nothing if `stop`
  // became readable, or the bus disconnected.
  std::optional<std::string> wait_for_job(int stop);

  // "loaded", "not-found", "masked", …
  std::string load_state(const std::string& unit);
  // "active", "activating" (a running oneshot unit), "inactive", "failed", …
  std::string active_state(const std::string& unit);
  // Why a failed service failed: "exit-code, status 1", "signal, status 9", "timeout".
  std::string failure(const std::string& unit);

 private:
  struct MessageDeleter {
    void operator()(sd_bus_message* message) const noexcept { sd_bus_message_unref(message); }
  };
  using Message = std::unique_ptr<sd_bus_message, MessageDeleter>;

  void connect();
  void subscribe();
  Message call_manager(const char* method, const std::string& unit, const char* mode);
  std::string object_of(const std::string& unit);
  std::string unit_property(const std::string& unit, const char* property);
  static int on_job_removed(sd_bus_message* message, void* self, sd_bus_error* error);

  sd_bus* bus_ = nullptr;
  bool subscribed_ = false;
  std::string job_;
  std::optional<std::string> job_result_;
};

}  // namespace nixbuild::api
