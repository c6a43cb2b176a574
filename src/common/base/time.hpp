// Points in time as text.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace nixbuild {

// "YYYY-MM-DDTHH:MM:SSZ", UTC.
std::string format_time(std::chrono::sys_seconds time);
// Nothing if `text` does not have that form.
std::optional<std::chrono::sys_seconds> parse_time(std::string_view text);
std::chrono::sys_seconds now();
// Whether `time` is at most `span` from now, in either direction. A time further in the future was
// recorded before the clock was set back, so nobody should wait for it.
bool is_within(std::chrono::sys_seconds time, std::chrono::seconds span);

}  // namespace nixbuild
