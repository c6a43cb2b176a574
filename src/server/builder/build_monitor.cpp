#include "server/builder/build_monitor.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "common/nix/store_path.hpp"
#include "server/builder/toolbox.hpp"
#include "server/history/build_log.hpp"

namespace nixbuild::builder {
namespace {

// Above it is chatter: "querying info about …".
constexpr int most_verbose_level = 3;

// Nix gives this advice for what is rooted later.
constexpr std::string_view root_advice = "you did not specify '--add-root'";

std::vector<std::string> clean_lines(std::string_view text) {
  return history::last_lines(text);
}

// What Nix says of a failed derivation, without what stands around it. Until 2.29 that is "error:
// builder for '…' failed with exit code 1", since then several lines with "Reason: …" among them.
std::string failure_reason(const std::vector<std::string>& lines) {
  for (std::string_view line : lines) {
    const std::size_t begin = line.find_first_not_of(' ');
    if (begin == std::string_view::npos) continue;
    line.remove_prefix(begin);
    constexpr std::string_view mark = "Reason: ";
    if (line.starts_with(mark)) return std::string(line.substr(mark.size()));
  }
  if (lines.empty()) return {};
  std::string_view reason = lines.front();
  constexpr std::string_view error = "error: ";
  if (reason.starts_with(error)) reason.remove_prefix(error.size());
  return std::string(reason.substr(0, reason.find("; last ")));
}

// The derivations that a text names: everything between a quote and ".drv'".
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
    functions_.log(line);
    if (!line.empty()) last_error_ = reason_in(line);
    return;
  }
  if (!std::holds_alternative<nix::log::BuildLogLine>(*event)) changed_ = true;
  std::visit([this](const auto& one) { handle(one); }, *event);
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
      if (start.level <= most_verbose_level && !start.text.empty()) functions_.log(start.text);
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
  if (build == running_.end()) {
    functions_.log(line.line);
    return;
  }
  auto& tail = build->second.tail;
  tail.push_back(history::clean_line(line.line));
  if (tail.size() > history::log_tail_lines) tail.pop_front();
  functions_.log(fmt::format("{}> {}", build->second.name, line.line));
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

// `count` of those that seem to run do so no longer.
void BuildMonitor::find_ended(std::size_t count) {
  const bool are_all = count == running_.size();
  const auto known_built = static_cast<std::uint64_t>(
      std::count_if(ended_.begin(), ended_.end(), [](const auto& one) { return !one.failed; }));
  const std::uint64_t newly_built = built_ > known_built ? built_ - known_built : 0;
  const bool is_sure = are_all && (newly_built == 0 || newly_built == count);
  for (auto build = running_.begin(); build != running_.end() && count > 0;) {
    const bool built = is_sure ? newly_built > 0 : functions_.is_built(build->second.derivation);
    // Which of several has failed, a message of Nix's will say.
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
    functions_.log(line);
  if (message.level == 0) {
    last_error_ = reason_in(message.text);
    note_failure(message.text);
  }
}

// Messages can be forged by a builder: a reason is for people, whether a target was built is
// decided by the store.
void BuildMonitor::note_failure(const std::string& message) {
  const std::vector<std::string> lines = clean_lines(message);
  if (lines.empty()) return;
  const auto named = named_derivations(lines.front());
  // The last message lists all that were asked for and failed.
  if (named.size() != 1) return;
  const std::string& derivation = named.front();
  const auto build = std::find_if(running_.begin(), running_.end(), [&](const auto& one) {
    return one.second.derivation == derivation;
  });
  Failure& failure = failures_[derivation];
  if (!failure.reason.empty()) return;
  failure.reason = failure_reason(lines);
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
    if (failure.reason.empty()) failure.reason = reason;
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
    // A small path is copied without a word of how far it is.
    progress.bytes_copied += copy.stopped ? std::max(copy.done, copy.expected) : copy.done;
    progress.bytes_to_copy += copy.expected;
  }
  progress.bytes_to_copy = std::max(progress.bytes_to_copy, expected_bytes_);
  if (to_copy_ > 0 && copied_ == to_copy_) progress.bytes_copied = progress.bytes_to_copy;
  for (const auto& [id, build] : running_) {
    progress.running.push_back({build.derivation, build.name, build.phase,
                                std::chrono::floor<std::chrono::seconds>(build.since)});
  }
  return progress;
}

}  // namespace nixbuild::builder
