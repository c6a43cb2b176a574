// Times for people: exact UTC in a pipe; on a terminal local time, and how long ago.
#pragma once

#include <string>

#include "common/protocol/types.hpp"

namespace nixbuild::cli {

struct TimeStyle {
  bool is_exact = true;  // as in JSON
  protocol::Time now;
};

// The style for output to this descriptor.
TimeStyle time_style(int fd);

// "2 h ago"; the date after two weeks.
std::string show_age(protocol::Time time, const TimeStyle& style);
// "2026-01-15 15:30:00 (2 h ago)".
std::string show_time(protocol::Time time, const TimeStyle& style);

}  // namespace nixbuild::cli
