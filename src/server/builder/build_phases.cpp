#include "server/builder/build_phases.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/base/log.hpp"
#include "common/base/time.hpp"
#include "common/config/service_settings.hpp"
#include "common/nix/attribute_path.hpp"
#include "common/nix/expression.hpp"
#include "common/nix/flake_lock.hpp"
#include "common/protocol/names.hpp"
#include "server/builder/build_view.hpp"
#include "server/builder/disk_space.hpp"
#include "server/builder/flake_config.hpp"
#include "server/builder/flake_inputs.hpp"
#include "server/builder/gc_roots.hpp"
#include "server/builder/git_checkout.hpp"
#include "server/builder/interruption.hpp"
#include "server/builder/isolation.hpp"
#include "server/builder/leftovers.hpp"
#include "server/builder/local_store.hpp"
#include "server/builder/nix_expression.hpp"
#include "server/builder/realise.hpp"
#include "server/builder/report.hpp"
#include "server/builder/targets.hpp"
#include "server/builder/toolbox.hpp"
#include "server/builder/warm.hpp"
#include "server/builder/whole_commit.hpp"
#include "server/history/build_lock.hpp"
#include "server/history/history.hpp"
#include "server/history/state_layout.hpp"

namespace nixbuild::builder {
namespace {

using protocol::TargetResult;

namespace fs = std::filesystem;

constexpr std::size_t most_targets_in_error = 5;
constexpr std::size_t most_kept_lock_bytes = std::size_t{2} << 20;

std::string summary_of_failures(const std::vector<protocol::Target>& targets) {
  std::string text;
  std::size_t failed = 0;
  for (const protocol::Target& target : targets) {
    if (target.result == TargetResult::success) continue;
    if (++failed > most_targets_in_error) continue;
    text += fmt::format("{}{}: {}", failed == 1 ? ": " : "; ", target.name, target.error);
  }
  if (failed > most_targets_in_error) {
    text += fmt::format("; and {} more", failed - most_targets_in_error);
  }
  return fmt::format("{} of {} targets failed{}", failed, targets.size(), text);
}

std::uint64_t memory_for_evaluation(std::uint64_t configured) {
  if (configured != 0) return configured;
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page = ::sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0
             ? static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page) / 2
             : 0;
}

// One build, from taking the lock to its end.
class Run {
 public:
  Run(const RunOptions& options, const history::StateLayout& layout, history::History& history,
      Interruption& interruption, const Observer& observer, std::int64_t id,
      std::optional<LastBuild>& last)
      : options_(options),
        repository_(options.repository),
        layout_(layout),
        history_(history),
        interruption_(interruption),
        id_(id),
        last_(last),
        queued_at_(now()),
        report_(layout, first_status(), observer) {}

  ExitCode run() {
    std::optional<std::string> error;
    try {
      error = build();
    } catch (const Interrupted& interrupted) {
      error = interrupted.what();
      if (error != history::reason_cancelled) error = phase_prefix() + *error;
    } catch (const std::exception& failure) {
      error = phase_prefix() + failure.what();
    }
    if (error) add_free_space(*error);
    if (tools_) tools_->end_all();
    finish(error);
    last_ = error ? std::nullopt : std::optional(LastBuild{id_, std::move(evaluated_)});
    return error ? ExitCode::failed : ExitCode::done;
  }

 private:
  protocol::BuildStatus first_status() const {
    protocol::BuildStatus status;
    status.is_running = true;
    status.repository = repository_.name;
    status.build_id = id_;
    status.phase = protocol::phase::queued;
    status.last_start = queued_at_;
    return status;
  }

  std::string phase_prefix() const { return report_.status().phase + ": "; }

  // If a disk is full, adds the free space of each.
  void add_free_space(std::string& error) const {
    const auto ran_out = [](const protocol::Target& target) {
      return target.result != TargetResult::success &&
             std::any_of(target.log_tail.begin(), target.log_tail.end(), tells_of_full_disk);
    };
    if (!tells_of_full_disk(error) && std::none_of(targets_.begin(), targets_.end(), ran_out)) {
      return;
    }
    const store::StoreLayout store = LocalStore().layout();
    std::error_code unknown;
    const std::string space = free_space({layout_.root(), store.real_store_dir, store.nix_state_dir,
                                          fs::temp_directory_path(unknown)});
    if (!space.empty()) error += fmt::format(" ({})", space);
  }

  void begin_phase(const std::string& name) {
    interruption_.check();
    history_.begin_phase(id_, name, now());
    report_.update([&](protocol::BuildStatus& status) { status.phase = name; });
  }

  // Returns the build's error, or nothing if it succeeded.
  std::optional<std::string> build() {
    const auto slot =
        history::wait_for_slot(layout_, history_, id_, options_.build.max_parallel, [this] {
          report_.tick();
          return !interruption_.has_come();
        });
    if (!slot) interruption_.check();
    start();

    begin_phase(protocol::phase::fetch);
    const Checkout checkout = check_out(*tools_, report_, repository_);
    history_.set_source(id_, config::without_credentials(repository_.url), repository_.branch);
    history_.set_commit(id_, checkout.commit, checkout.subject, checkout.author);
    report_.log(fmt::format("commit {} {}", checkout.commit, checkout.subject));

    begin_phase(protocol::phase::inputs);
    auto sources = prepare_sources(checkout);

    for (const TargetSource& source : sources)
      evaluated_.push_back(source.reference.empty() ? checkout.commit : source.reference);
    LocalStore store;
    fs::create_directories(layout_.gc_roots(repository_.name, id_));
    if (last_ && last_->sources == evaluated_) {
      copy_targets();
    } else {
      begin_phase(protocol::phase::evaluate);
      for (std::size_t i = 0; i < sources.size(); ++i)
        add_targets(store, sources[i], fmt::format("{}{}", evaluation_root, i));
    }
    history_.set_targets(id_, targets_);

    begin_phase(protocol::phase::build);
    const Realised realised = realise(*tools_, report_, store, targets_,
                                      layout_.gc_roots(repository_.name, id_), nix_options_);
    history_.add_derivations(id_, realised.derivations);
    history_.set_targets(id_, targets_);

    begin_phase(protocol::phase::finish);
    return conclude();
  }

  // Called when the build has its slot: it is now running.
  void start() {
    start_ = now();
    history_.set_running(id_, start_);
    interruption_.set_timeout(repository_.timeout);
    report_.update([&](protocol::BuildStatus& status) { status.last_start = start_; });
    fs::create_directories(layout_.logs(repository_.name));
    report_.open_log(layout_.log(repository_.name, id_));
    fs::create_directories(layout_.repository(repository_.name));
    fs::create_directories(layout_.gc_roots(repository_.name));
    fs::create_directories(layout_.home(repository_.name));
    temporary_ = TemporaryDirectory(repository_.name);
    Toolbox::Settings settings;
    settings.repository = repository_.name;
    settings.clone = layout_.repository(repository_.name);
    settings.dir = fs::path(repository_.dir).lexically_normal();
    settings.home = layout_.home(repository_.name);
    settings.fetching_home = settings.home;
    settings.eval_memory = memory_for_evaluation(options_.build.eval_memory);
    settings.allow_local_git = !local_path(repository_.url).empty();
    settings.credentials = Credentials(repository_);
    if (!settings.credentials.empty()) {
      settings.fetching_home = layout_.fetching_home(repository_.name);
      fs::create_directories(settings.fetching_home);
    }
    auto isolations = isolate(settings.credentials, settings.fetching_home);
    tools_.emplace(layout_, std::move(settings), std::move(isolations), interruption_, report_);
  }

  Toolbox::Isolations isolate(Credentials& credentials, const fs::path& fetching_home) {
    if (options_.build.isolation == config::Isolation::none) {
      become_subreaper();
      credentials.link_in(temporary_.path());
      warn_of_readable_secrets();
      return {};
    }
    View evaluation = build_view(options_, layout_, temporary_.path());
    credentials.hide_in(evaluation);
    View inputs = evaluation;
    inputs.writable.push_back(layout_.repository(repository_.name));
    inputs.writable.push_back(fetching_home);
    credentials.show_in(inputs);
    View git = inputs;
    if (const fs::path source = local_path(repository_.url); !source.empty()) {
      // Its submodules may be sibling repositories.
      git.readable.push_back(source.parent_path());
      if (repository_.push_lock) git.writable.push_back(source);
    }
    try {
      return {Isolation(git), Isolation(inputs), Isolation(evaluation)};
    } catch (const SystemError& failure) {
      throw Error(fmt::format(
          "builds cannot be isolated on this system: {}. Allow unprivileged user namespaces, or "
          "set "
          "isolation = \"none\" in [build] if you trust every repository and all of its inputs",
          failure.what()));
    }
  }

  void warn_of_readable_secrets() {
    auto secrets = options_.secrets;
    secrets.push_back(layout_.root() / "cache-key");
    for (const fs::path& secret : secrets) {
      if (::access(secret.c_str(), R_OK) != 0) continue;
      const std::string text = fmt::format(
          "THIS BUILD CAN READ {}, because isolation is \"none\": whoever can push to the "
          "repository can have it. Run builds as another user than serve-cache, as the systemd "
          "units do",
          secret.string());
      log::warn("{}", text);
      report_.warn(text);
    }
  }

  // The sources of targets: the flake at its newest commit, with one or two locks.
  std::vector<TargetSource> prepare_sources(const Checkout& checkout) {
    TargetSource source;
    source.systems = repository_.systems;
    if (source.systems.empty()) source.systems = {nix::this_system()};
    for (const std::string& target : repository_.targets) {
      source.wanted.push_back(nix::parse_attribute_path(target));
    }
    source.home_config = repository_.home_config;
    source.home_manager = options_.build.home_manager;

    if (!exists_beneath(tools_->clone(), tools_->in_dir("flake.nix"))) {
      if (!exists_beneath(tools_->clone(), tools_->in_dir("default.nix"))) {
        throw Error(
            repository_.dir.empty()
                ? "the repository has neither a flake.nix nor a default.nix"
                : fmt::format("the directory {} of the repository has neither a flake.nix nor "
                              "a default.nix",
                              repository_.dir));
      }
      // default.nix is read from the clone itself; this call puts the Git LFS files there.
      whole_commit(*tools_, checkout.commit, checkout.committed_at);
      return {source};
    }
    if (repository_.accept_flake_config) {
      nix_options_ = read_flake_config(*tools_, report_, checkout.commit);
    }
    source.options = nix_options_;
    const auto reference = [&](const std::string& commit) {
      return git_flake_reference(tools_->clone().string(),
                                 whole_commit(*tools_, commit, checkout.committed_at),
                                 repository_.dir, checkout.depth);
    };
    source.reference = reference(checkout.commit);
    // Check first: Nix copies an input before it writes a lock.
    check_named_inputs(*tools_, repository_.local_inputs);
    auto lock = read_lock(*tools_);
    if (lock) check_locked_inputs(*lock, repository_.local_inputs);
    std::vector<TargetSource> sources;
    if (repository_.lock != config::Lock::committed) {
      const auto committed = lock;
      update_inputs(*tools_, report_);
      lock = read_lock(*tools_);
      if (lock) check_locked_inputs(*lock, repository_.local_inputs);
      if (lock != committed) {
        TargetSource updated = source;
        updated_commit_ = commit_lock(
            *tools_, checkout, repository_.push_lock ? CommitTime::now : CommitTime::reproducible);
        updated.reference = reference(*updated_commit_);
        sources.push_back(std::move(updated));
        source.label = "committed lock";
        if (repository_.lock == config::Lock::updated) return keep_lock(lock, sources);
      }
    }
    sources.push_back(std::move(source));
    return keep_lock(lock, sources);
  }

  std::vector<TargetSource> keep_lock(const std::optional<std::string>& lock,
                                      std::vector<TargetSource>& sources) {
    if (tools_->has_credentials()) {
      for (const TargetSource& source : sources)
        fetch_inputs(*tools_, source.reference);
    }
    // The kept file is served to everybody, so it must really be a lock.
    try {
      if (lock) {
        if (lock->size() > most_kept_lock_bytes) {
          throw FormatError(fmt::format("it has more than {} MiB", most_kept_lock_bytes >> 20));
        }
        nix::FlakeLock::parse(*lock);
        history_.set_lock(id_, *lock);
      }
    } catch (const FormatError& error) {
      report_.warn(fmt::format("flake.lock is not kept with the build: {}", error.what()));
    }
    return std::move(sources);
  }

  // Nothing has changed since the last build, which is still rooted.
  void copy_targets() {
    report_.log(fmt::format("nothing has changed since build {}", last_->id));
    if (auto build = history_.get(last_->id)) targets_ = std::move(build->targets);
    for (protocol::Target& target : targets_)
      target.result = TargetResult::pending;
    report_.update([&](protocol::BuildStatus& status) {
      status.progress.targets = targets_.size();
      status.progress.evaluated = targets_.size();
    });
  }

  void add_targets(const LocalStore& store, const TargetSource& source,
                   const std::string& root_name) {
    std::set<std::string> known;
    for (const protocol::Target& target : targets_)
      known.insert(target.derivation);
    for (protocol::Target& target :
         evaluate_targets(*tools_, report_, store, source,
                          layout_.gc_roots(repository_.name, id_) / root_name)) {
      // Both locks can lead to the same derivation.
      if (!target.derivation.empty() && known.contains(target.derivation)) continue;
      targets_.push_back(std::move(target));
    }
  }

  std::optional<std::string> conclude() {
    std::set<std::string> outputs;
    bool all_good = true;
    for (const protocol::Target& target : targets_) {
      if (target.result != TargetResult::success) {
        all_good = false;
        continue;
      }
      for (const protocol::Output& output : target.outputs)
        outputs.insert(output.path);
    }
    outputs_.assign(outputs.begin(), outputs.end());
    if (targets_.empty()) report_.warn("the repository offers nothing to build");
    if (all_good && repository_.push_lock && updated_commit_) push_lock();
    warm();
    if (all_good) return std::nullopt;
    return summary_of_failures(targets_);
  }

  void push_lock() {
    try {
      push_commit(*tools_, repository_, *updated_commit_);
      report_.log(fmt::format("pushed flake.lock as {}", *updated_commit_));
    } catch (const Interrupted&) {
      throw;
    } catch (const Error& error) {
      report_.warn(fmt::format("flake.lock was not pushed: {}", error.what()));
    }
  }

  void warm() {
    if (outputs_.empty()) return;
    try {
      warm_cache(layout_.root() / "control.sock", outputs_);
    } catch (const Error& error) {
      report_.warn(fmt::format("serve-cache was not told of the outputs: {}", error.what()));
    }
  }

  void finish(const std::optional<std::string>& error) {
    protocol::BuildStatus last = report_.status();
    last.is_running = false;
    last.phase = protocol::phase::done;
    // The clock may have been set back meanwhile.
    last.last_finish = std::max(now(), last.last_start.value_or(queued_at_));
    last.last_status = error ? protocol::BuildResult::failed : protocol::BuildResult::success;
    last.error = error;
    last.outputs = outputs_;
    last.progress.running.clear();
    log_end(error);
    const auto write_down = [&] {
      // If the build was interrupted, targets that failed before keep their own errors.
      if (error && !targets_.empty()) history_.set_targets(id_, targets_);
      history_.finish(id_, error, *last.last_finish);
      if (const auto build = history_.get(id_)) last.last_commit = build->commit;
      report_.close(last);
    };
    try {
      write_down();
    } catch (const Error& failure) {
      log::warn("{}; trying again with the space that is kept for this", failure.what());
      std::error_code ignored;
      fs::remove(layout_.reserve(repository_.name), ignored);
      write_down();
    }
    clean_up();
  }

  void log_end(const std::optional<std::string>& error) {
    try {
      for (const protocol::Target& target : targets_) {
        if (target.result == TargetResult::success) continue;
        report_.log(target.result == TargetResult::pending
                        ? fmt::format("{}: not built", target.name)
                        : fmt::format("{}: {}: {}", target.name, protocol::name_of(target.result),
                                      target.error));
      }
      report_.log(error == history::reason_cancelled ? fmt::format("build {} was cancelled", id_)
                  : error ? fmt::format("build {} failed: {}", id_, *error)
                          : fmt::format("build {} succeeded, {} output{}", id_, outputs_.size(),
                                        outputs_.size() == 1 ? "" : "s"));
      // Before the history records the end of the build, because readers of that may then read the
      // log.
      report_.end_log();
    } catch (const Error&) {
      // The disk is full; the history says so too.
    }
  }

  void drop_old_roots() {
    const fs::path roots = layout_.gc_roots(repository_.name);
    const auto rooted = rooted_builds(roots);
    if (rooted.empty()) return;
    const auto builds = history_.targets_since(repository_.name, rooted.back());
    std::set<std::int64_t> known;
    for (const history::BuildTargets& build : builds)
      known.insert(build.id);
    remove_old_roots(roots, roots_to_keep(builds, repository_.keep), known, repository_.keep);
  }

  void clean_up() {
    try {
      drop_old_roots();
      std::error_code error;
      for (const std::int64_t old : history_.prune(repository_.name, repository_.keep_history)) {
        fs::remove(layout_.log(repository_.name, old), error);
      }
      fs::remove(layout_.processes(repository_.name), error);
    } catch (const std::exception& error) {
      log::warn("cleaning up behind the build: {}", error.what());
    }
  }

  const RunOptions& options_;
  const config::Repository& repository_;
  const history::StateLayout& layout_;
  history::History& history_;
  Interruption& interruption_;
  const std::int64_t id_;
  std::optional<LastBuild>& last_;
  const protocol::Time queued_at_;
  Report report_;
  TemporaryDirectory temporary_;
  std::optional<Toolbox> tools_;
  Toolbox::Options nix_options_;
  protocol::Time start_;
  std::vector<std::string> evaluated_;  // as in LastBuild
  std::vector<protocol::Target> targets_;
  std::vector<std::string> outputs_;
  std::optional<std::string> updated_commit_;
};

}  // namespace

ExitCode go_through_phases(const RunOptions& options, const history::StateLayout& layout,
                           history::History& history, Interruption& interruption,
                           const Observer& observer, std::int64_t id,
                           std::optional<LastBuild>& last) {
  return Run(options, layout, history, interruption, observer, id, last).run();
}

}  // namespace nixbuild::builder
