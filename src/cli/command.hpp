// What the command files share.
#pragma once

#include <functional>

#include "common/base/exit_code.hpp"

namespace CLI {
class App;
}

namespace nixbuild::cli {

// What the chosen command does once the whole command line has been read.
using Action = std::function<ExitCode()>;

// Each adds its command to `app` and, when the command line names it, sets `action`.
void add_aliases_command(CLI::App& app, Action& action);
void add_bootstrap_command(CLI::App& app, Action& action);
void add_builds_command(CLI::App& app, Action& action);
void add_cancel_command(CLI::App& app, Action& action);
void add_complete_command(CLI::App& app, Action& action);
void add_config_command(CLI::App& app, Action& action);
void add_doctor_command(CLI::App& app, Action& action);
void add_health_command(CLI::App& app, Action& action);
void add_info_command(CLI::App& app, Action& action);
void add_keys_command(CLI::App& app, Action& action);
void add_logs_command(CLI::App& app, Action& action);
void add_status_command(CLI::App& app, Action& action);
void add_system_update_command(CLI::App& app, Action& action);
void add_trigger_command(CLI::App& app, Action& action);
#ifdef NIXBUILD_SERVER
void add_run_build_command(CLI::App& app, Action& action);
void add_serve_api_command(CLI::App& app, Action& action);
void add_serve_cache_command(CLI::App& app, Action& action);
#endif

}  // namespace nixbuild::cli
