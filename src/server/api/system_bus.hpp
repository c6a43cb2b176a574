// systemd, as it is asked over the system's D-Bus. Nothing here waits for longer than 5 s, but for
// the end of a job.
//
// Source: the D-Bus interface of systemd, org.freedesktop.systemd1(5).
#pragma once

#include <systemd/sd-bus.h>

#include <memory>
#include <optional>
#include <string>

namespace nixbuild::api {

// A connection of its own, for one thread at a time. Every function throws RunnerError, with
// advice, when the bus or systemd does not do what it was asked for.
class SystemBus {
 public:
  // The bus that DBUS_SYSTEM_BUS_ADDRESS names, else the system's.
  SystemBus();
  ~SystemBus();
  SystemBus(const SystemBus&) = delete;
  SystemBus& operator=(const SystemBus&) = delete;

  void stop_unit(const std::string& unit);
  // Queues the start. One that a start is under way for already gets no second one.
  void start_unit(const std::string& unit);
  // How the job of start_unit() ended: "done", or why it was not, as systemd has it ("failed",
  // "canceled", "dependency", …). For a oneshot unit this is its end. Nothing when `stop` became
  // readable, or when the bus is gone.
  std::optional<std::string> wait_for_job(int stop);

  // "loaded", "not-found", "masked", …
  std::string load_state(const std::string& unit);
  // "active", "activating" (a oneshot unit that runs), "inactive", "failed", …
  std::string active_state(const std::string& unit);
  // Why a service that has failed did so: "exit-code, status 1", "signal, status 9", "timeout".
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
