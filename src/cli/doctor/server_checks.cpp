#include "cli/doctor/server_checks.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "cli/doctor/client_checks.hpp"
#include "cli/machine/short_command.hpp"
#include "common/base/error.hpp"
#include "common/base/shell.hpp"
#include "common/base/terminal.hpp"
#include "common/base/unique_fd.hpp"
#include "common/config/state_dir.hpp"
#include "common/keys/key_file.hpp"

namespace nixbuild::cli {
namespace {

namespace fs = std::filesystem;

// Paths of an installed server, by `meson install` and tmpfiles.d.
constexpr const char* installed_cache_user = "nixbuild-cache";
constexpr std::array unit_directories = {"/etc/systemd/system", "/run/systemd/system",
                                         "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
                                         "/lib/systemd/system"};
constexpr std::array wants_directories = {
    "/etc/systemd/system/multi-user.target.wants", "/etc/systemd/system/sockets.target.wants",
    "/run/systemd/system/multi-user.target.wants", "/run/systemd/system/sockets.target.wants"};
constexpr std::array units = {"nixbuild-cache.service", "nixbuild-cache.socket",
                              "nixbuild-api.service", "nixbuild-api.socket"};

Check units_of_this_machine() {
  ShortCommand command{
      .arguments = {"systemctl", "show", "--property", "Id,LoadState,ActiveState,SubState,Result"},
      .environment = {}};
  command.arguments.insert(command.arguments.end(), units.begin(), units.end());
  const auto exit = run_briefly(std::move(command));
  if (exit && exit->ok()) return check_units(parse_unit_states(exit->output));
  Check check{"units", CheckState::warning, "systemd does not respond", {}};
  if (exit) check.message += fmt::format(": {}", terminal::printable(exit->error));
  check.remedy = "start the servers yourself: nixbuild serve-cache, nixbuild serve-api";
  return check;
}

Check check_database(const ServerSetup& setup) {
  Check check{"store database", CheckState::ok, {}, {}};
  const fs::path database = setup.nix_state_dir / "db/db.sqlite";
  std::error_code error;
  if (!fs::exists(database, error)) {
    check.state = CheckState::failed;
    check.message = fmt::format("{} does not exist", database.string());
    check.remedy = "install Nix, or set --nix-state-dir to its state directory";
  } else if (!has_access(setup.cache_user, database, may_read)) {
    check.state = CheckState::failed;
    check.message =
        fmt::format("{} cannot be read by {}", database.string(), setup.cache_user.name);
    check.remedy = shell_command(
        {"sudo", "chmod", "a+rX", (setup.nix_state_dir / "db").string(), database.string()});
  } else {
    check.message = fmt::format("{} can be read by {}", database.string(), setup.cache_user.name);
  }
  return check;
}

// 0, or an errno.
int connect_to(const fs::path& socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = socket.string();
  if (path.size() >= sizeof address.sun_path) return ENAMETOOLONG;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno;
  const bool is_connected =
      ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  return is_connected ? 0 : errno;
}

}  // namespace

Check check_nix_daemon(const fs::path& nix_state_dir) {
  const fs::path socket = nix_state_dir / "daemon-socket/socket";
  Check check{"Nix daemon", CheckState::ok, fmt::format("answers on {}", socket.string()), {}};
  switch (const int error = connect_to(socket)) {
    case 0:
    case EAGAIN:  // the queue of connections is full
      break;
    case ENOENT:
      check.message = fmt::format("not in use: {} does not exist", socket.string());
      break;
    case EACCES:
    case EPERM:
      check.state = CheckState::warning;
      check.message = fmt::format("this user may not connect to the daemon at {}", socket.string());
      check.remedy = "sudo nixbuild doctor --on-server";
      break;
    default:
      check.state = CheckState::failed;
      check.message = fmt::format("the Nix daemon does not respond at {}: {}", socket.string(),
                                  std::generic_category().message(error));
      check.remedy = "sudo systemctl start nix-daemon.socket nix-daemon";
  }
  return check;
}

namespace {

Check check_nar_cache(const ServerSetup& setup) {
  Check check{"NAR cache", CheckState::ok, {}, {}};
  const fs::path cache = setup.state_dir / "nar-cache";
  std::error_code error;
  // serve-cache creates it at its first start.
  const bool exists = fs::exists(cache, error);
  const fs::path& written = exists ? cache : setup.state_dir;
  if (has_access(setup.cache_user, written, may_write)) {
    check.message = fmt::format("{} can be written by {}", written.string(), setup.cache_user.name);
  } else if (!exists && !fs::exists(setup.state_dir, error)) {
    check.state = CheckState::warning;
    check.message = fmt::format("{} does not exist yet", setup.state_dir.string());
    check.remedy = setup.has_units ? "sudo systemd-tmpfiles --create" : "nixbuild serve-cache";
  } else {
    check.state = CheckState::failed;
    check.message =
        fmt::format("{} cannot be written by {}", written.string(), setup.cache_user.name);
    check.remedy = setup.has_units
                       ? "sudo systemd-tmpfiles --create"
                       : shell_command({"sudo", "chown", setup.cache_user.name, written.string()});
  }
  return check;
}

Check check_programs() {
  Check check{"programs", CheckState::ok, {}, {}};
  std::vector<std::string> found;
  std::vector<std::string> missing;
  for (const char* name : {"git", "nix", "nix-store"}) {
    if (const auto path = program_in_path(name)) {
      found.push_back(*path);
    } else {
      missing.emplace_back(name);
    }
  }
  if (missing.empty()) {
    check.message = fmt::format("{}", fmt::join(found, ", "));
  } else {
    check.state = CheckState::failed;
    check.message = fmt::format("not in PATH: {}", fmt::join(missing, ", "));
    check.remedy = "install the missing programs; builds need git and Nix";
  }
  return check;
}

}  // namespace

bool has_installed_units() {
  return std::any_of(unit_directories.begin(), unit_directories.end(), [](const char* directory) {
    std::error_code error;
    return fs::exists(fs::path(directory) / units.front(), error);
  });
}

bool has_enabled_units() {
  for (const fs::path directory : wants_directories) {
    for (const char* unit : units) {
      std::error_code error;
      if (fs::exists(fs::symlink_status(directory / unit, error))) return true;
    }
  }
  return false;
}

ServerSetup find_server_setup(const config::Configuration& configuration) {
  ServerSetup setup;
  setup.has_units = has_installed_units();
  const bool is_told = !configuration.state_dir.empty();
  setup.state_dir = config::resolve_state_dir(configuration.state_dir, config::process_environment);
  setup.key_files = configuration.cache.secret_key_files;
  if (setup.key_files.empty()) {
    const bool is_installed = !is_told && setup.has_units;
    setup.key_files.push_back(is_installed ? fs::path(keys::installed_key_file)
                                           : setup.state_dir / keys::default_key_file);
  }
  setup.nix_state_dir = configuration.cache.nix_state_dir;
  const auto service = is_told ? std::nullopt : find_user(installed_cache_user);
  setup.cache_user = service ? *service : this_user();
  return setup;
}

std::vector<UnitState> parse_unit_states(std::string_view text) {
  std::vector<UnitState> states;
  bool is_new = true;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) {
      is_new = true;
      continue;
    }
    if (is_new) states.emplace_back();
    is_new = false;
    const std::string_view name = line.substr(0, equals);
    const std::string value(line.substr(equals + 1));
    if (name == "Id") states.back().name = value;
    if (name == "LoadState") states.back().load = value;
    if (name == "ActiveState") states.back().active = value;
    if (name == "SubState") states.back().sub = value;
    if (name == "Result") states.back().result = value;
  }
  return states;
}

Check check_units(const std::vector<UnitState>& states) {
  Check check{"units", CheckState::ok, {}, {}};
  const auto is_active = [&](std::string_view name) {
    return std::any_of(states.begin(), states.end(), [&](const UnitState& unit) {
      return unit.name == name && unit.active == "active";
    });
  };
  std::vector<std::string> running;
  std::vector<std::string> problems;
  std::vector<std::string> remedies;
  for (const UnitState& unit : states) {
    if (!unit.name.ends_with(".service")) continue;
    const std::string stem = unit.name.substr(0, unit.name.size() - std::string(".service").size());
    if (unit.load != "loaded") {
      problems.push_back(fmt::format("{} is {}", unit.name, unit.load));
      remedies.push_back("install the units: meson install, then sudo systemctl daemon-reload");
    } else if (unit.active == "failed") {
      problems.push_back(fmt::format("{} has failed ({})", unit.name, unit.result));
      remedies.push_back(fmt::format("journalctl -u {} -n 50", unit.name));
    } else if (unit.sub == "auto-restart") {
      problems.push_back(
          fmt::format("{} keeps failing ({}) and is restarted", unit.name, unit.result));
      remedies.push_back(fmt::format("journalctl -u {} -n 50", unit.name));
    } else if (unit.active == "active" || unit.active == "activating") {
      running.push_back(fmt::format("{} is running", unit.name));
    } else if (is_active(stem + ".socket")) {
      running.push_back(fmt::format("{} starts with the first connection", unit.name));
    } else {
      problems.push_back(fmt::format("{} is not running", unit.name));
      remedies.push_back(fmt::format("sudo systemctl enable --now {}.socket {}", stem, unit.name));
    }
  }
  if (problems.empty()) {
    check.message = fmt::format("{}", fmt::join(running, ", "));
  } else {
    check.state = CheckState::failed;
    check.message = fmt::format("{}", fmt::join(problems, ", "));
    check.remedy = fmt::format("{}", fmt::join(remedies, "\n"));
  }
  return check;
}

Check check_key_file(const fs::path& file, const PublicKeys& served) {
  Check check{"signing key", CheckState::failed, {}, {}};
  const auto readers = readers_of(file);
  if (!readers) {
    std::error_code error;
    const bool is_hidden =
        !has_access(this_user(), file.parent_path(), 1) && fs::exists(file.parent_path(), error);
    check.state = CheckState::warning;
    check.message = is_hidden ? fmt::format("{} cannot be accessed by this user", file.string())
                              : fmt::format("{} does not exist", file.string());
    check.remedy =
        is_hidden ? "sudo nixbuild doctor --on-server"
                  : "serve-cache creates one when it starts; or run: " +
                        shell_command({"nixbuild", "keys", "generate", "--file", file.string()});
    return check;
  }
  std::vector<std::string> who = {readers->owner};
  if (!readers->group.empty()) {
    who.push_back(readers->members.empty() ? fmt::format("the group {}", readers->group)
                                           : fmt::format("the group {} ({})", readers->group,
                                                         fmt::join(readers->members, ", ")));
  }
  if (readers->everybody) who.emplace_back("everybody");
  check.message = fmt::format("{}, mode {:04o}: {} can read it", file.string(), readers->mode,
                              fmt::join(who, " and "));
  constexpr mode_t of_others = 0007;
  if ((readers->mode & of_others) != 0) {
    check.remedy = shell_command({"sudo", "chmod", "600", file.string()}) +
                   ", and generate a new key if somebody may have read it";
    return check;
  }
  if (!readers->group.empty() && (readers->group == "nixbuild" || !readers->members.empty())) {
    // The user of builds, which run a repository's code, must not be among them.
    check.state = CheckState::warning;
    check.remedy = shell_command({"sudo", "chmod", "600", file.string()});
    return check;
  }
  check.state = CheckState::ok;
  if (!has_access(this_user(), file, may_read)) return check;
  try {
    const nix::PublicKey key = keys::load_key_file(file).public_key();
    const bool is_served = std::find(served.begin(), served.end(), key) != served.end();
    if (!served.empty() && !is_served) {
      check.state = CheckState::failed;
      check.message += ", but the cache signs with a different key";
      check.remedy = "restart nixbuild-cache, or check which file it uses: nixbuild config show";
    }
  } catch (const UsageError& error) {
    check.state = CheckState::failed;
    check.message = error.what();
    check.remedy =
        "restore it from a backup, or generate a new key and add its public half to all clients";
  }
  return check;
}

std::vector<Check> check_server(const ServerSetup& setup, const PublicKeys& served) {
  std::vector<Check> checks;
  if (setup.has_units) checks.push_back(units_of_this_machine());
  for (const fs::path& file : setup.key_files)
    checks.push_back(check_key_file(file, served));
  checks.push_back(check_database(setup));
  checks.push_back(check_nix_daemon(setup.nix_state_dir));
  checks.push_back(check_nar_cache(setup));
  checks.push_back(check_programs());
  if (const auto space = disk_space(setup.state_dir.string())) {
    checks.push_back(check_disk_space("state's disk space", *space));
  }
  return checks;
}

}  // namespace nixbuild::cli
