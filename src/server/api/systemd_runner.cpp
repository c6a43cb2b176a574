#include <fmt/format.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

#include "server/api/runner.hpp"

namespace nixbuild::api {
namespace {

constexpr std::uint64_t call_timeout = 5'000'000;  // microseconds
constexpr const char* destination = "org.freedesktop.systemd1";
constexpr const char* manager_path = "/org/freedesktop/systemd1";
constexpr const char* manager = "org.freedesktop.systemd1.Manager";

struct BusDeleter {
  void operator()(sd_bus* bus) const noexcept { sd_bus_flush_close_unref(bus); }
};
using Bus = std::unique_ptr<sd_bus, BusDeleter>;

struct MessageDeleter {
  void operator()(sd_bus_message* message) const noexcept { sd_bus_message_unref(message); }
};
using Message = std::unique_ptr<sd_bus_message, MessageDeleter>;

struct BusError {
  BusError() = default;
  ~BusError() { sd_bus_error_free(&error); }
  BusError(const BusError&) = delete;
  BusError& operator=(const BusError&) = delete;
  sd_bus_error error{};  // SD_BUS_ERROR_NULL, which is written in C
};

// Not sd_booted(), which is asked first: a bus may be there where systemd is not.
Bus open_bus() {
  sd_bus* bus = nullptr;
  if (const int result = sd_bus_open_system(&bus); result < 0) {
    throw RunnerError(
        fmt::format("connecting to the system bus: {}; is dbus running?", std::strerror(-result)));
  }
  Bus owned(bus);
  sd_bus_set_method_call_timeout(bus, call_timeout);
  return owned;
}

std::string unit_of(std::string_view repository) {
  return fmt::format("nixbuild-build@{}.service", repository);
}

[[noreturn]] void throw_call_failed(std::string_view method, std::string_view unit, int result,
                                    const sd_bus_error& error) {
  std::string_view advice = "is systemd answering? try `systemctl status`";
  const std::string_view name = error.name != nullptr ? error.name : "";
  if (name == SD_BUS_ERROR_ACCESS_DENIED ||
      name == SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED) {
    advice = "the polkit rule that allows it is missing or not in force (50-nixbuild.rules)";
  } else if (name == "org.freedesktop.systemd1.NoSuchUnit") {
    advice = "the unit is not installed; run `systemctl daemon-reload` if it just was";
  } else if (name == "org.freedesktop.systemd1.UnitMasked") {
    advice = "the unit is masked";
  }
  throw RunnerError(fmt::format("{} of {}: {}; {}", method, unit,
                                error.message != nullptr ? error.message : std::strerror(-result),
                                advice));
}

class SystemdRunner : public Runner {
 public:
  const char* name() const noexcept override { return "systemd"; }
  void start(const std::string& repository) override { call("StartUnit", repository); }
  void stop(const std::string& repository) override { call("StopUnit", repository); }

 private:
  // The job is queued when the call returns; nobody waits for its end, which for a build is the
  // build's.
  static void call(const char* method, const std::string& repository) {
    const Bus bus = open_bus();
    const std::string unit = unit_of(repository);
    BusError error;
    const int result = sd_bus_call_method(bus.get(), destination, manager_path, manager, method,
                                          &error.error, nullptr, "ss", unit.c_str(), "replace");
    if (result < 0) throw_call_failed(method, unit, result, error.error);
  }
};

}  // namespace

std::unique_ptr<Runner> make_systemd_runner() {
  return std::make_unique<SystemdRunner>();
}

bool systemd_has_build_unit() {
  if (sd_booted() <= 0) return false;
  try {
    const Bus bus = open_bus();
    BusError error;
    sd_bus_message* reply = nullptr;
    // Any instance stands for the template.
    if (sd_bus_call_method(bus.get(), destination, manager_path, manager, "LoadUnit", &error.error,
                           &reply, "s", unit_of("x").c_str()) < 0) {
      return false;
    }
    const Message owned(reply);
    const char* path = nullptr;
    if (sd_bus_message_read(reply, "o", &path) < 0) return false;
    char* state = nullptr;
    if (sd_bus_get_property_string(bus.get(), destination, path, "org.freedesktop.systemd1.Unit",
                                   "LoadState", &error.error, &state) < 0) {
      return false;
    }
    const std::unique_ptr<char, decltype(&std::free)> owned_state(state, &std::free);
    return std::string_view(state) == "loaded";
  } catch (const RunnerError&) {
    return false;
  }
}

}  // namespace nixbuild::api
