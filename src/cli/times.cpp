#include "cli/times.hpp"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <ctime>

#include "common/base/terminal.hpp"
#include "common/base/time.hpp"

namespace nixbuild::cli {
namespace {

using namespace std::chrono_literals;

constexpr auto longest_age = std::chrono::days(14);

// Formats by strftime, in the time zone of this machine or of $TZ.
std::string local(protocol::Time time, const char* format) {
  ::tzset();
  const std::time_t seconds = time.time_since_epoch().count();
  std::tm parts = {};
  std::array<char, 64> text = {};
  if (::localtime_r(&seconds, &parts) == nullptr ||
      std::strftime(text.data(), text.size(), format, &parts) == 0) {
    return format_time(time);
  }
  return text.data();
}

// A time in the future is "now": clocks differ.
std::string ago(std::chrono::seconds age) {
  if (age < 1s) return "now";
  if (age < 1min) return fmt::format("{} s ago", age.count());
  if (age < 1h) return fmt::format("{} min ago", age / 1min);
  if (age < 48h) return fmt::format("{} h ago", age / 1h);
  return fmt::format("{} d ago", age / 24h);
}

}  // namespace

TimeStyle time_style(int fd) {
  return {!terminal::is_terminal(fd), now()};
}

std::string show_age(protocol::Time time, const TimeStyle& style) {
  if (style.is_exact) return format_time(time);
  const auto age = style.now - time;
  return age < longest_age ? ago(age) : local(time, "%Y-%m-%d");
}

std::string show_time(protocol::Time time, const TimeStyle& style) {
  if (style.is_exact) return format_time(time);
  return fmt::format("{} ({})", local(time, "%Y-%m-%d %H:%M:%S"), ago(style.now - time));
}

}  // namespace nixbuild::cli
