#include "server/builder/leftovers.hpp"

#include <dirent.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <thread>

#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "server/history/state_layout.hpp"

namespace nixbuild::builder {
namespace {

constexpr const char* mark_name = "NIXBUILD_BUILD_OF";
constexpr mode_t record_mode = 0640;
constexpr std::chrono::milliseconds look_interval{20};
// How often to retry killing: a process may start another one while it is being killed.
constexpr int most_rounds = 250;

struct Process {
  ProcessId id;
  pid_t parent = 0;
  bool is_zombie = false;
};

template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  Number value{};
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || rest != text.data() + text.size()) return std::nullopt;
  return value;
}

// Nothing if the process has ended.
std::optional<std::string> read_of(pid_t pid, const char* file) {
  try {
    return read_file(fmt::format("/proc/{}/{}", pid, file));
  } catch (const Error&) {
    return std::nullopt;  // not ours, or it ended meanwhile
  }
}

// Parses /proc/PID/stat, proc(5). The name in parentheses may contain anything, so the fields are
// counted from the last parenthesis: state is the 1st, the parent the 2nd and the start time the
// 20th.
std::optional<Process> process_of(pid_t pid) {
  const auto stat = read_of(pid, "stat");
  if (!stat) return std::nullopt;
  const std::size_t name_end = stat->rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::string_view rest = std::string_view(*stat).substr(name_end + 1);
  std::vector<std::string_view> fields;
  while (!rest.empty() && fields.size() < 20) {
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    const std::size_t end = std::min(rest.find(' '), rest.size());
    fields.push_back(rest.substr(0, end));
    rest.remove_prefix(end);
  }
  if (fields.size() < 20) return std::nullopt;
  const auto parent = parse_number<pid_t>(fields[1]);
  const auto start = parse_number<std::uint64_t>(fields[19]);
  if (!parent || !start) return std::nullopt;
  return Process{{pid, *start}, *parent, fields[0] == "Z" || fields[0] == "X"};
}

std::vector<Process> all_processes() {
  struct Closer {
    void operator()(DIR* directory) const noexcept { ::closedir(directory); }
  };
  const std::unique_ptr<DIR, Closer> proc(::opendir("/proc"));
  if (!proc) throw SystemError(errno, "opening /proc");
  std::vector<Process> processes;
  while (const dirent* entry = ::readdir(proc.get())) {
    const auto pid = parse_number<pid_t>(entry->d_name);
    if (!pid) continue;
    if (const auto process = process_of(*pid)) processes.push_back(*process);
  }
  return processes;
}

// `roots` and all their descendants.
std::vector<Process> trees(const std::vector<Process>& processes, std::set<pid_t> roots) {
  std::multimap<pid_t, const Process*> children;
  for (const Process& process : processes)
    children.emplace(process.parent, &process);
  std::vector<pid_t> to_visit(roots.begin(), roots.end());
  while (!to_visit.empty()) {
    const pid_t parent = to_visit.back();
    to_visit.pop_back();
    const auto [begin, end] = children.equal_range(parent);
    for (auto child = begin; child != end; ++child) {
      if (roots.insert(child->second->id.pid).second) to_visit.push_back(child->second->id.pid);
    }
  }
  std::vector<Process> found;
  for (const Process& process : processes) {
    if (roots.contains(process.id.pid)) found.push_back(process);
  }
  return found;
}

void reap_children() {
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

std::vector<ProcessId> living_descendants(const std::vector<pid_t>& spared) {
  reap_children();
  auto found = descendants_of(::getpid());
  std::erase_if(found, [&](const ProcessId& process) {
    return std::find(spared.begin(), spared.end(), process.pid) != spared.end();
  });
  return found;
}

void send(const std::vector<ProcessId>& processes, int signal) {
  // A process of another user cannot be killed here; that user must end it (the Nix daemon ends its
  // builders if their client disconnects).
  for (const ProcessId& process : processes)
    ::kill(process.pid, signal);
}

std::string boot_id() {
  try {
    return read_file("/proc/sys/kernel/random/boot_id").value_or("");
  } catch (const Error&) {
    return {};
  }
}

std::set<ProcessId> recorded(const history::StateLayout& layout, const std::string& repository) {
  std::set<ProcessId> processes;
  std::optional<std::string> text;
  try {
    text = read_file(layout.processes(repository));
  } catch (const Error&) {
    return processes;
  }
  const std::string boot = boot_id();
  if (!text || boot.empty() || !text->starts_with(boot)) return processes;
  std::string_view rest = std::string_view(*text).substr(boot.size());
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) continue;
    const auto pid = parse_number<pid_t>(line.substr(0, space));
    const auto start = parse_number<std::uint64_t>(line.substr(space + 1));
    if (pid && start) processes.insert({*pid, *start});
  }
  return processes;
}

bool has_mark(pid_t pid, const std::string& mark) {
  const auto environment = read_of(pid, "environ");
  if (!environment) return false;
  // Each variable is NUL-terminated.
  const std::string entry = mark + '\0';
  return environment->starts_with(entry) || environment->find('\0' + entry) != std::string::npos;
}

// This process and its ancestors, which may also have the mark.
std::set<pid_t> self_and_ancestors() {
  std::set<pid_t> line;
  pid_t pid = ::getpid();
  while (pid > 0 && line.insert(pid).second) {
    const auto process = process_of(pid);
    pid = process ? process->parent : 0;
  }
  return line;
}

}  // namespace

void become_subreaper() {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
}

std::vector<ProcessId> descendants_of(pid_t ancestor) {
  std::vector<ProcessId> found;
  for (const Process& process : trees(all_processes(), {ancestor})) {
    if (process.id.pid != ancestor && !process.is_zombie) found.push_back(process.id);
  }
  return found;
}

void end_descendants(std::chrono::milliseconds patience, const std::vector<pid_t>& spared) {
  auto living = living_descendants(spared);
  send(living, SIGTERM);
  for (auto waited = look_interval; !living.empty() && waited < patience; waited += look_interval) {
    std::this_thread::sleep_for(look_interval);
    living = living_descendants(spared);
  }
  for (int round = 0; !living.empty() && round < most_rounds; ++round) {
    send(living, SIGKILL);
    std::this_thread::sleep_for(look_interval);
    living = living_descendants(spared);
  }
  reap_children();
}

std::pair<std::string, std::string> environment_mark(const history::StateLayout& layout,
                                                     const std::string& repository) {
  return {mark_name, layout.lock(repository).string()};
}

void record_descendants(const history::StateLayout& layout, const std::string& repository) {
  std::string text = boot_id();
  for (const ProcessId& process : descendants_of(::getpid())) {
    text += fmt::format("{} {}\n", process.pid, process.start_time);
  }
  write_file_atomic(layout.processes(repository), text, record_mode);
}

int kill_leftovers(const history::StateLayout& layout, const std::string& repository) {
  const auto [name, value] = environment_mark(layout, repository);
  const std::string mark = name + "=" + value;
  const std::set<ProcessId> known = recorded(layout, repository);
  const std::set<pid_t> spared = self_and_ancestors();
  std::set<ProcessId> stopped;
  std::set<ProcessId> killed;
  for (int round = 0; round < most_rounds; ++round) {
    const auto processes = all_processes();
    std::set<pid_t> roots;
    for (const Process& process : processes) {
      if (process.is_zombie || spared.contains(process.id.pid)) continue;
      if (known.contains(process.id) || has_mark(process.id.pid, mark)) {
        roots.insert(process.id.pid);
      }
    }
    if (roots.empty()) break;
    // Stop all before killing any: a child that a process starts after this scan and before its end
    // would lose its parent, and may have no mark.
    const auto tree = trees(processes, roots);
    bool is_new = false;
    for (const Process& process : tree) {
      if (process.is_zombie || !stopped.insert(process.id).second) continue;
      is_new = ::kill(process.id.pid, SIGSTOP) == 0 || is_new;
    }
    if (is_new) continue;
    bool any = false;
    for (const Process& process : tree) {
      if (process.is_zombie || ::kill(process.id.pid, SIGKILL) != 0) continue;
      killed.insert(process.id);
      any = true;
    }
    if (!any) break;
    std::this_thread::sleep_for(look_interval);
  }
  return static_cast<int>(killed.size());
}

}  // namespace nixbuild::builder
