// Points in time as text.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace nixbuild {

// "YYYY-MM-DDTHH:MM:SSZ", UTC.
std::string format_time(std::chrono::sys_seconds time);
// Nothing when `text` is not of that form.
std::optional<std::chrono::sys_seconds> parse_time(std::string_view text);
std::chrono::sys_seconds now();
// Whether `time` is at most `span` from now. A time that lies further ahead was taken before the
// clock was put back: nobody is to wait until it comes again.
bool is_within(std::chrono::sys_seconds time, std::chrono::seconds span);

}  // namespace nixbuild
