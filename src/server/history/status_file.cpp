#include "server/history/status_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>

#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/base/time.hpp"
#include "common/protocol/json.hpp"
#include "common/protocol/names.hpp"
#include "server/history/build_lock.hpp"
#include "server/history/history.hpp"
#include "server/history/state_layout.hpp"

namespace nixbuild::history {
namespace {

using protocol::BuildState;

constexpr mode_t status_mode = 0640;
constexpr std::size_t status_limit = std::size_t{16} << 20;  // bytes

std::optional<protocol::Time> modified(const std::filesystem::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return std::nullopt;
  return protocol::Time(std::chrono::seconds(status.st_mtim.tv_sec));
}

std::optional<protocol::BuildStatus> read_status_file(const std::filesystem::path& file) {
  // The directory belongs to the builds' user, so the file can be anything.
  try {
    const auto text = read_file_beneath(file.parent_path(), file.filename(), status_limit);
    if (!text) return std::nullopt;
    return protocol::from_json<protocol::BuildStatus>(*text);
  } catch (const SystemError&) {
    throw;
  } catch (const Error&) {
    // The file is from an older program, or was edited by hand; the history has what matters.
    return std::nullopt;
  }
}

std::uint64_t mixed(std::uint64_t seed, std::uint64_t value) {
  return (seed ^ value) * 0x9e3779b97f4a7c15U + (seed >> 29);
}

}  // namespace

void write_status(const StateLayout& layout, const protocol::BuildStatus& status) {
  write_file_atomic(layout.status(status.repository), protocol::to_json(status) + "\n",
                    status_mode);
}

struct StatusReader::State {
  State(const StateLayout& layout_, History& history_, std::string repository_)
      : layout(layout_),
        history(history_),
        repository(std::move(repository_)),
        file(layout.status(repository)),
        probe(layout.lock(repository)) {}

  const StateLayout& layout;
  History& history;
  std::string repository;
  std::filesystem::path file;
  LockProbe probe;

  protocol::Time last_sign(std::int64_t id) const {
    const auto log = modified(layout.log(repository, id));
    const auto status = modified(file);
    return std::max({log, status}).value_or(now());
  }

  // Ends dead builds. Throws DiskFull if that cannot be recorded.
  void reconcile() {
    history.reconcile(
        repository, [this] { return probe.is_locked(); },
        [this](std::int64_t id) { return last_sign(id); });
  }

  // Changes `build` in memory as reconcile() would have.
  void end(protocol::Build& build) const {
    if (build.state == BuildState::queued) return;
    if (build.state != BuildState::cancelled) {
      build.state = BuildState::failed;
      build.error = reason_interrupted;
    }
    build.finish = std::max(last_sign(build.id), build.start.value_or(build.queued_at));
  }

  // The current build, after ending dead builds.
  std::optional<protocol::Build> current() {
    auto build = history.current(repository);
    const auto is_unfinished = [&] { return build && !build->finish; };
    if (!is_unfinished() || probe.is_locked()) return build;
    bool is_full = false;
    try {
      reconcile();
    } catch (const DiskFull&) {
      is_full = true;
    }
    // Read it again even if nothing was changed: it may have ended by itself meanwhile.
    build = history.current(repository);
    // The build is dead, even if that cannot be recorded now.
    if (is_full && is_unfinished() && !probe.is_locked()) end(*build);
    return build;
  }
};

protocol::BuildStatus ended_status(History& history, const protocol::Build& build) {
  protocol::BuildStatus status;
  status.repository = build.repository;
  status.build_id = build.id;
  status.last_start = build.start.value_or(build.queued_at);
  status.phase = protocol::phase::done;
  status.last_finish = build.finish;
  status.last_status = build.state == BuildState::success ? protocol::BuildResult::success
                                                          : protocol::BuildResult::failed;
  status.last_commit = build.commit;
  status.error = build.error;
  status.outputs = history.output_paths(build.id);
  return status;
}

StatusReader::StatusReader(const StateLayout& layout, History& history, std::string repository)
    : state_(std::make_unique<State>(layout, history, std::move(repository))) {}
StatusReader::~StatusReader() = default;
StatusReader::StatusReader(StatusReader&&) noexcept = default;
StatusReader& StatusReader::operator=(StatusReader&&) noexcept = default;

void StatusReader::end_what_is_dead() {
  state_->reconcile();
}

protocol::BuildStatus StatusReader::read() {
  protocol::BuildStatus status;
  status.repository = state_->repository;
  const auto build = state_->current();
  if (!build) return status;

  status.build_id = build->id;
  status.last_start = build->start.value_or(build->queued_at);
  const auto live = read_status_file(state_->file);
  const bool is_of_this_build = live && live->build_id == build->id;
  if (is_of_this_build) status.progress = live->progress;
  if (!build->finish) {
    // A cancelled build is also running until its processes have ended.
    status.is_running = true;
    status.phase = is_of_this_build                      ? live->phase
                   : build->state == BuildState::running ? protocol::phase::fetch
                                                         : protocol::phase::queued;
    return status;
  }
  protocol::Progress progress = std::move(status.progress);
  progress.running.clear();
  status = ended_status(state_->history, *build);
  status.progress = std::move(progress);
  return status;
}

std::uint64_t StatusReader::generation() {
  std::uint64_t generation = mixed(1, state_->history.generation());
  struct stat file {};
  if (::stat(state_->file.c_str(), &file) == 0) {
    generation = mixed(generation, file.st_ino);
    generation = mixed(generation, static_cast<std::uint64_t>(file.st_mtim.tv_nsec));
    generation = mixed(generation, static_cast<std::uint64_t>(file.st_mtim.tv_sec));
    generation = mixed(generation, static_cast<std::uint64_t>(file.st_size));
  }
  generation = mixed(generation, static_cast<std::uint64_t>(state_->probe.is_locked()));
  return generation;
}

}  // namespace nixbuild::history
