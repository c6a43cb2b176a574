// The program's log, on standard error: plain lines with a time for a person, lines with a syslog
// priority prefix and no time when journald reads it.
//
// NIXBUILD_LOG sets the level (trace, debug, info, warn, error, off); the default is 'info'.
#pragma once

#include <fmt/core.h>

#include <string_view>
#include <utility>

namespace nixbuild::log {

enum class Level { trace, debug, info, warn, error, off };

// Sets up the log from the environment; called once by main. Without it, the level is 'info'.
void init();

void set_level(Level level);
// Whether standard error is systemd's journal: JOURNAL_STREAM names exactly that file,
// systemd.exec(5).
bool goes_to_journal() noexcept;
bool enabled(Level level) noexcept;
void write(Level level, std::string_view message);

template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::debug)) write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::info)) write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::warn)) write(Level::warn, fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::error)) write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace nixbuild::log
