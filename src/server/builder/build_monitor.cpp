#include "server/builder/build_monitor.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "common/nix/store_path.hpp"
#include "server/builder/toolbox.hpp"
#include "server/history/build_log.hpp"

namespace nixbuild::builder {
namespace {

// Messages more verbose than this are not logged: "querying info about …".
constexpr int most_verbose_level = 3;
// The maximum number of failures kept; builders can forge any number of messages.
constexpr std::size_t most_failures = 100'000;

// The maximum in a status, which every follower reads repeatedly.
constexpr std::size_t most_failed_names = 10;

// Nix's advice about outputs that will be rooted later.
constexpr std::string_view root_advice = "you did not specify '--add-root'";

std::vector<std::string> clean_lines(std::string_view text) {
  return history::last_lines(text);
}

// Nix's reason why `derivation` failed, without its path, which is already known, and without the
// end of its log. Up to Nix 2.29 the message is "builder for '…' failed with exit code 1", later
// "Cannot build '…'." with the reason on a separate line.
std::string failure_reason(std::string_view message, std::string_view derivation) {
  std::string reason = reason_in(message);
  const std::string prefix = fmt::format("Cannot build '{}': ", derivation);
  if (reason.starts_with(prefix)) reason.erase(0, prefix.size());
  return reason.substr(0, reason.find("; last "));
}

// The derivations mentioned in a text: everything between a quote and ".drv'".
std::vector<std::string> named_derivations(std::string_view text) {
  std::vector<std::string> found;
  constexpr std::string_view mark = ".drv'";
  for (std::size_t at = text.find(mark); at != std::string_view::npos; at = text.find(mark, at)) {
    const std::size_t end = at + mark.size() - 1;
    const std::size_t quote = text.rfind('\'', at);
    if (quote != std::string_view::npos)
      found.emplace_back(text.substr(quote + 1, end - quote - 1));
    at = end;
  }
  return found;
}

}  // namespace

std::string derivation_name(std::string_view path) {
  std::string_view name = path.substr(path.rfind('/') + 1);
  if (name.size() > nix::hash_part_length + 1) name.remove_prefix(nix::hash_part_length + 1);
  if (name.ends_with(".drv")) name.remove_suffix(4);
  return std::string(name);
}

BuildMonitor::BuildMonitor(Functions functions) : functions_(std::move(functions)) {}

void BuildMonitor::handle_line(std::string_view line) {
  const auto event = nix::log::parse_line(line);
  if (!event) {
    log_message(history::clean_line(line));
    if (!line.empty()) last_error_ = reason_in(line);
    return;
  }
  if (!std::holds_alternative<nix::log::BuildLogLine>(*event)) changed_ = true;
  std::visit([this](const auto& one) { handle(one); }, *event);
}

// Builders can make Nix forward their messages: none may look like a line of this program.
void BuildMonitor::log_message(std::string_view text) {
  functions_.log(fmt::format("nix: {}", text));
}

void BuildMonitor::handle(const nix::log::Start& start) {
  switch (start.type) {
    case nix::log::ActivityType::build: {
      const std::string derivation(start.text_field(0));
      running_[start.id] = {derivation, derivation_name(derivation), "", functions_.now(), {}};
      const std::string_view machine = start.text_field(1);
      functions_.log(machine.empty()
                         ? fmt::format("building {}", derivation_name(derivation))
                         : fmt::format("building {} on {}", derivation_name(derivation), machine));
      return;
    }
    case nix::log::ActivityType::copy_path:
      copies_[start.id] = {};
      functions_.log(fmt::format("copying {} from {}", derivation_name(start.text_field(0)),
                                 start.text_field(1)));
      return;
    case nix::log::ActivityType::builds:
    case nix::log::ActivityType::copy_paths:
      totals_[start.id] = start.type;
      return;
    default:
      if (start.level <= most_verbose_level && !start.text.empty()) log_message(start.text);
  }
}

void BuildMonitor::handle(const nix::log::Stop& stop) {
  if (const auto copy = copies_.find(stop.id); copy != copies_.end()) copy->second.stopped = true;
  if (const auto build = running_.find(stop.id); build != running_.end()) {
    end(build, !functions_.is_built(build->second.derivation));
  }
}

void BuildMonitor::handle(const nix::log::BuildLogLine& line) {
  const auto build = running_.find(line.id);
  std::string text = history::clean_line(line.line);
  if (build == running_.end()) {
    log_message(text);
    return;
  }
  functions_.log(fmt::format("{}> {}", build->second.name, text));
  auto& tail = build->second.tail;
  tail.push_back(std::move(text));
  if (tail.size() > history::log_tail_lines) tail.pop_front();
}

void BuildMonitor::handle(const nix::log::SetPhase& phase) {
  const auto build = running_.find(phase.id);
  if (build != running_.end()) build->second.phase = history::clean_line(phase.phase);
}

void BuildMonitor::handle(const nix::log::Progress& progress) {
  if (const auto copy = copies_.find(progress.id); copy != copies_.end()) {
    copy->second.done = progress.done;
    copy->second.expected = progress.expected;
    return;
  }
  const auto total = totals_.find(progress.id);
  if (total == totals_.end()) return;
  if (total->second == nix::log::ActivityType::copy_paths) {
    copied_ = progress.done;
    to_copy_ = progress.expected;
    return;
  }
  built_ = progress.done;
  to_build_ = progress.expected;
  failed_ = progress.failed;
  if (running_.size() > progress.running) find_ended(running_.size() - progress.running);
}

// `count` of the derivations that seem to run have ended.
void BuildMonitor::find_ended(std::size_t count) {
  const bool are_all = count == running_.size();
  const auto known_built = static_cast<std::uint64_t>(
      std::count_if(ended_.begin(), ended_.end(), [](const auto& one) { return !one.failed; }));
  const std::uint64_t newly_built = built_ > known_built ? built_ - known_built : 0;
  const bool is_sure = are_all && (newly_built == 0 || newly_built == count);
  for (auto build = running_.begin(); build != running_.end() && count > 0;) {
    const bool built = is_sure ? newly_built > 0 : functions_.is_built(build->second.derivation);
    // If several are running, a later message from Nix names the failed one.
    if (built || are_all) {
      build = end(build, !built);
      --count;
    } else {
      ++build;
    }
  }
}

void BuildMonitor::handle(const nix::log::SetExpected& expected) {
  if (expected.type == nix::log::ActivityType::copy_path) expected_bytes_ = expected.expected;
}

void BuildMonitor::handle(const nix::log::Message& message) {
  if (message.level > most_verbose_level || message.text.find(root_advice) != std::string::npos) {
    return;
  }
  for (const std::string& line : clean_lines(message.text))
    log_message(line);
  if (message.level == 0) {
    last_error_ = reason_in(message.text);
    note_failure(message.text);
  }
}

// Builders can forge messages. So a reason is only shown to people, and the store decides whether a
// target was built.
void BuildMonitor::note_failure(const std::string& message) {
  const std::vector<std::string> lines = clean_lines(message);
  if (lines.empty()) return;
  const auto named = named_derivations(lines.front());
  // Nix's last message lists all requested derivations that failed.
  if (named.size() != 1) return;
  const std::string& derivation = named.front();
  if (failures_.size() >= most_failures) return;
  const auto build = std::find_if(running_.begin(), running_.end(), [&](const auto& one) {
    return one.second.derivation == derivation;
  });
  Failure& failure = failures_[derivation];
  if (!failure.reason.empty()) return;
  failure.reason = failure_reason(message, derivation);
  failure.is_consequence = failure.reason.find("dependenc") != std::string::npos &&
                           failure.reason.find("failed") != std::string::npos;
  if (build != running_.end()) end(build, true);
}

BuildMonitor::RunningBuilds::iterator BuildMonitor::end(RunningBuilds::iterator build,
                                                        bool failed) {
  Running& running = build->second;
  const auto took = std::max(functions_.now() - running.since, Clock::duration(0));
  ended_.push_back({running.derivation, running.name,
                    std::chrono::floor<std::chrono::seconds>(running.since),
                    static_cast<std::uint64_t>(
                        std::chrono::duration_cast<std::chrono::milliseconds>(took).count()),
                    failed});
  if (failed) {
    Failure& failure = failures_[running.derivation];
    failure.log_tail.assign(running.tail.begin(), running.tail.end());
    failure.is_consequence = false;
  }
  return running_.erase(build);
}

void BuildMonitor::finish(const std::string& reason) {
  for (auto build = running_.begin(); build != running_.end();) {
    build = end(build, !functions_.is_built(build->second.derivation));
  }
  for (auto& [derivation, failure] : failures_) {
    if (!failure.reason.empty()) continue;
    failure.reason = reason;
    failure.is_interrupted = true;
  }
}

protocol::Progress BuildMonitor::progress() const {
  protocol::Progress progress;
  progress.built = built_;
  progress.to_build = to_build_;
  progress.failed = failed_;
  progress.copied = copied_;
  progress.to_copy = to_copy_;
  for (const auto& [id, copy] : copies_) {
    // Nix reports no progress for a small path.
    progress.bytes_copied += copy.stopped ? std::max(copy.done, copy.expected) : copy.done;
    progress.bytes_to_copy += copy.expected;
  }
  progress.bytes_to_copy = std::max(progress.bytes_to_copy, expected_bytes_);
  if (to_copy_ > 0 && copied_ == to_copy_) progress.bytes_copied = progress.bytes_to_copy;
  std::vector<std::string> failed_names;
  for (const protocol::DerivationTime& one : ended_) {
    if (one.failed && failed_names.size() < most_failed_names) failed_names.push_back(one.name);
  }
  if (!failed_names.empty()) progress.failed_names = std::move(failed_names);
  for (const auto& [id, build] : running_) {
    progress.running.push_back({build.derivation, build.name, build.phase,
                                std::chrono::floor<std::chrono::seconds>(build.since)});
  }
  return progress;
}

}  // namespace nixbuild::builder
