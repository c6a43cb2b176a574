// The commands. Each adds itself to the table that command_line.hpp explains; main.cpp lists them.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command_line.hpp"

namespace nixbuild::cli {

void add_aliases_command(CommandSpec& program);
void add_bootstrap_command(CommandSpec& program);
void add_builds_command(CommandSpec& program);
void add_cancel_command(CommandSpec& program);
void add_config_command(CommandSpec& program);
void add_doctor_command(CommandSpec& program);
void add_health_command(CommandSpec& program);
void add_info_command(CommandSpec& program);
void add_keys_command(CommandSpec& program);
void add_logs_command(CommandSpec& program);
void add_proxy_command(CommandSpec& program);
void add_status_command(CommandSpec& program);
void add_system_update_command(CommandSpec& program);
void add_trigger_command(CommandSpec& program);
#ifdef NIXBUILD_SERVER
void add_run_build_command(CommandSpec& program);
void add_serve_api_command(CommandSpec& program);
void add_serve_cache_command(CommandSpec& program);
void add_serve_proxy_command(CommandSpec& program);
#endif

// Describes the program for the words of a command line: only the command that they name, or else
// all commands. `called` is the program's name, which may be a command's link ("bs"); then the
// words are replaced by those that the table knows.
using Describe = std::function<void(CommandSpec& program, std::string_view called,
                                    std::vector<std::string>& words)>;
void add_complete_command(CommandSpec& program, Describe describe);

}  // namespace nixbuild::cli
