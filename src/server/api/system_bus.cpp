#include "server/api/system_bus.hpp"

#include <fmt/format.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "server/api/runner.hpp"

namespace nixbuild::api {
namespace {

using std::chrono::microseconds;
using Clock = std::chrono::steady_clock;

constexpr microseconds call_timeout = std::chrono::seconds(5);
constexpr const char* destination = "org.freedesktop.systemd1";
constexpr const char* manager_path = "/org/freedesktop/systemd1";
constexpr const char* manager = "org.freedesktop.systemd1.Manager";
constexpr const char* unit_interface = "org.freedesktop.systemd1.Unit";
constexpr const char* service_interface = "org.freedesktop.systemd1.Service";

struct BusError {
  BusError() = default;
  ~BusError() { sd_bus_error_free(&error); }
  BusError(const BusError&) = delete;
  BusError& operator=(const BusError&) = delete;
  sd_bus_error error{};  // the equivalent of SD_BUS_ERROR_NULL, which is valid only in C
};

[[noreturn]] void throw_no_bus(int result) {
  throw RunnerError(
      fmt::format("connecting to the system bus: {}; is dbus running?", std::strerror(-result)));
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
  throw RunnerError(fmt::format("{}{}{}: {}; {}", method, unit.empty() ? "" : " of ", unit,
                                error.message != nullptr ? error.message : std::strerror(-result),
                                advice));
}

}  // namespace

SystemBus::SystemBus() {
  try {
    connect();
  } catch (...) {
    sd_bus_close_unref(bus_);
    throw;
  }
}

SystemBus::~SystemBus() {
  sd_bus_flush_close_unref(bus_);
}

// The library would wait 90 s for a bus that accepts connections but does not respond.
void SystemBus::connect() {
  if (const int result = sd_bus_open_system(&bus_); result < 0) throw_no_bus(result);
  sd_bus_set_method_call_timeout(bus_, static_cast<std::uint64_t>(call_timeout.count()));
  const auto deadline = Clock::now() + call_timeout;
  while (sd_bus_is_ready(bus_) <= 0) {
    const auto left = std::chrono::duration_cast<microseconds>(deadline - Clock::now());
    if (left <= microseconds::zero()) throw_no_bus(-ETIMEDOUT);
    int result = sd_bus_process(bus_, nullptr);
    if (result == 0) result = sd_bus_wait(bus_, static_cast<std::uint64_t>(left.count()));
    if (result < 0 && result != -EINTR) throw_no_bus(result);
  }
}

SystemBus::Message SystemBus::call_manager(const char* method, const std::string& unit,
                                           const char* mode) {
  BusError error;
  sd_bus_message* reply = nullptr;
  const int result = mode == nullptr
                         ? sd_bus_call_method(bus_, destination, manager_path, manager, method,
                                              &error.error, &reply, "s", unit.c_str())
                         : sd_bus_call_method(bus_, destination, manager_path, manager, method,
                                              &error.error, &reply, "ss", unit.c_str(), mode);
  if (result < 0) throw_call_failed(method, unit, result, error.error);
  return Message(reply);
}

void SystemBus::stop_unit(const std::string& unit) {
  call_manager("StopUnit", unit, "replace");
}

void SystemBus::start_unit(const std::string& unit) {
  subscribe();
  job_result_.reset();
  const Message reply = call_manager("StartUnit", unit, "replace");
  const char* job = nullptr;
  if (const int result = sd_bus_message_read(reply.get(), "o", &job); result < 0) {
    throw_call_failed("StartUnit", unit, result, sd_bus_error{});
  }
  job_ = job;
}

// Before the start, so that no job's end is missed. The connection queues signals until it is
// processed.
void SystemBus::subscribe() {
  if (subscribed_) return;
  int result = sd_bus_match_signal(bus_, nullptr, destination, manager_path, manager, "JobRemoved",
                                   on_job_removed, this);
  if (result < 0) throw_call_failed("AddMatch", "", result, sd_bus_error{});
  BusError error;
  result = sd_bus_call_method(bus_, destination, manager_path, manager, "Subscribe", &error.error,
                              nullptr, "");
  if (result < 0) throw_call_failed("Subscribe", "", result, error.error);
  subscribed_ = true;
}

int SystemBus::on_job_removed(sd_bus_message* message, void* self, sd_bus_error* /*error*/) {
  auto& bus = *static_cast<SystemBus*>(self);
  std::uint32_t id = 0;
  const char* job = nullptr;
  const char* unit = nullptr;
  const char* result = nullptr;
  if (sd_bus_message_read(message, "uoss", &id, &job, &unit, &result) < 0) return 0;
  if (bus.job_ == job) bus.job_result_ = result;
  return 0;
}

std::optional<std::string> SystemBus::wait_for_job(int stop) {
  while (!job_result_) {
    const int processed = sd_bus_process(bus_, nullptr);
    if (processed < 0) return std::nullopt;
    if (processed > 0) continue;
    const int events = sd_bus_get_events(bus_);
    if (events < 0) return std::nullopt;
    std::array<pollfd, 2> waited{
        {{sd_bus_get_fd(bus_), static_cast<short>(events), 0}, {stop, POLLIN, 0}}};
    if (::poll(waited.data(), waited.size(), -1) < 0 && errno != EINTR) return std::nullopt;
    if (waited[1].revents != 0) return std::nullopt;
  }
  return job_result_;
}

std::string SystemBus::object_of(const std::string& unit) {
  const Message reply = call_manager("LoadUnit", unit, nullptr);
  const char* path = nullptr;
  if (const int result = sd_bus_message_read(reply.get(), "o", &path); result < 0) {
    throw_call_failed("LoadUnit", unit, result, sd_bus_error{});
  }
  return path;
}

std::string SystemBus::load_state(const std::string& unit) {
  return unit_property(unit, "LoadState");
}

std::string SystemBus::active_state(const std::string& unit) {
  return unit_property(unit, "ActiveState");
}

std::string SystemBus::unit_property(const std::string& unit, const char* property) {
  const std::string object = object_of(unit);
  BusError error;
  char* value = nullptr;
  const int result = sd_bus_get_property_string(bus_, destination, object.c_str(), unit_interface,
                                                property, &error.error, &value);
  if (result < 0) throw_call_failed(property, unit, result, error.error);
  const std::unique_ptr<char, decltype(&std::free)> owned(value, &std::free);
  return value;
}

std::string SystemBus::failure(const std::string& unit) {
  const std::string object = object_of(unit);
  BusError error;
  char* text = nullptr;
  int result = sd_bus_get_property_string(bus_, destination, object.c_str(), service_interface,
                                          "Result", &error.error, &text);
  if (result < 0) throw_call_failed("Result", unit, result, error.error);
  const std::unique_ptr<char, decltype(&std::free)> owned(text, &std::free);
  std::int32_t status = 0;
  result = sd_bus_get_property_trivial(bus_, destination, object.c_str(), service_interface,
                                       "ExecMainStatus", &error.error, 'i', &status);
  if (result < 0) throw_call_failed("ExecMainStatus", unit, result, error.error);
  return status == 0 ? std::string(text) : fmt::format("{}, status {}", text, status);
}

}  // namespace nixbuild::api
