#include "server/builder/report.hpp"

#include <fmt/format.h>

#include "common/base/error.hpp"
#include "common/base/terminal.hpp"
#include "server/history/status_file.hpp"

namespace nixbuild::builder {
namespace {

constexpr std::chrono::milliseconds least_write_interval{250};
constexpr std::chrono::milliseconds draw_interval{100};

}  // namespace

Report::Report(const history::StateLayout& layout, protocol::BuildStatus status,
               const Observer& observer)
    : layout_(layout), observer_(observer), status_(std::move(status)) {
  history::write_status(layout_, status_);
  writer_ = std::thread([this] { write_when_changed(); });
}

Report::~Report() {
  stop_writing();
}

void Report::open_log(const std::filesystem::path& file) {
  log_.emplace(file);
}

void Report::log(std::string_view line) {
  const std::string cleaned = terminal::printable(line, history::max_line_length);
  if (observer_.log_line) observer_.log_line(cleaned);
  if (log_) log_->append(cleaned);
}

void Report::log_output(std::string_view line) {
  log(history::clean_line(line));
}

void Report::warn(std::string_view line) {
  log(fmt::format("warning: {}", line));
}

void Report::update(const std::function<void(protocol::BuildStatus&)>& change) {
  change(status_);
  if (observer_.status) observer_.status(status_);
  {
    const std::lock_guard guard(mutex_);
    to_write_ = status_;
  }
  wake_.notify_one();
}

void Report::tick() {
  if (log_) log_->flush();
  const auto time = std::chrono::steady_clock::now();
  if (observer_.tick && time >= draw_due_) {
    draw_due_ = time + draw_interval;
    observer_.tick();
  }
  const std::lock_guard guard(mutex_);
  if (failure_) throw Error(*failure_);
}

void Report::end_log() {
  if (log_) log_->close();
}

void Report::close(protocol::BuildStatus last) {
  stop_writing();
  status_ = std::move(last);
  if (observer_.status) observer_.status(status_);
  try {
    end_log();
  } catch (const SystemError&) {
    // The status is more informative than the log's last lines.
  }
  history::write_status(layout_, status_);
}

void Report::write_when_changed() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stop_ || to_write_; });
    if (stop_) return;
    const protocol::BuildStatus status = std::move(*to_write_);
    to_write_.reset();
    lock.unlock();
    std::optional<std::string> failure;
    try {
      history::write_status(layout_, status);
    } catch (const Error& error) {
      failure = error.what();
    }
    lock.lock();
    if (failure) failure_ = std::move(failure);
    wake_.wait_for(lock, least_write_interval, [this] { return stop_; });
  }
}

void Report::stop_writing() {
  if (!writer_.joinable()) return;
  {
    const std::lock_guard guard(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  writer_.join();
}

}  // namespace nixbuild::builder
