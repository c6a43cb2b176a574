#include "server/api/build_feed.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "common/protocol/json.hpp"
#include "server/history/log_file.hpp"

namespace nixbuild::api {
namespace {

namespace asio = boost::asio;

// How often to look for changes that inotify does not report, such as an expired timeout.
constexpr int look_interval = 1000;                         // milliseconds
constexpr std::size_t chunk_limit = std::size_t{32} << 10;  // bytes

constexpr std::uint32_t log_events = IN_MODIFY | IN_CREATE;
constexpr std::uint32_t status_events = IN_MOVED_TO;
// The kernel closes a dead process's files, including the lock.
constexpr std::uint32_t lock_events = IN_CLOSE_WRITE;

}  // namespace

BuildFeed::BuildFeed(const history::StateLayout& layout)
    : layout_(layout),
      inotify_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)),
      wakeup_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!inotify_ || !wakeup_) throw SystemError(errno, "watching the state directory");
  thread_ = std::thread([this] { run(); });
}

BuildFeed::~BuildFeed() {
  stop();
  thread_.join();
}

void BuildFeed::stop() {
  stopped_ = true;
  {
    const std::lock_guard lock(mutex_);
    for (auto& [repository, channel] : channels_)
      wake(channel);
  }
  poke();
}

void BuildFeed::poke() {
  const std::uint64_t one = 1;
  static_cast<void>(::write(wakeup_.get(), &one, sizeof one));
}

std::size_t BuildFeed::followers() const {
  const std::lock_guard lock(mutex_);
  std::size_t count = 0;
  for (const auto& [repository, channel] : channels_)
    count += channel.followers;
  return count;
}

void BuildFeed::wake(Channel& channel) {
  ++channel.version;
  channel.changed.notify_all();
}

void BuildFeed::run() {
  while (!stopped_) {
    try {
      watch_directories();
      std::array<pollfd, 2> ready = {pollfd{inotify_.get(), POLLIN, 0},
                                     pollfd{wakeup_.get(), POLLIN, 0}};
      if (::poll(ready.data(), ready.size(), look_interval) < 0 && errno != EINTR) {
        throw SystemError(errno, "watching the state directory");
      }
      std::uint64_t count = 0;
      static_cast<void>(::read(wakeup_.get(), &count, sizeof count));
      std::vector<std::string> log_changed;
      read_events(log_changed);

      std::vector<std::string> followed;
      {
        const std::lock_guard lock(mutex_);
        for (const auto& [repository, channel] : channels_) {
          if (channel.followers > 0) followed.push_back(repository);
        }
      }
      for (const std::string& repository : followed) {
        refresh(repository,
                std::find(log_changed.begin(), log_changed.end(), repository) != log_changed.end());
      }
    } catch (const Error& error) {
      // The history or the disk is unavailable: followers keep the last status.
      log::warn("following builds: {}", error.what());
      readers_.clear();
      history_.reset();
      std::this_thread::sleep_for(std::chrono::milliseconds(look_interval));
    }
  }
}

// inotify_add_watch has no effect on a directory that is already watched.
void BuildFeed::watch_directories() {
  const auto watch = [this](const std::filesystem::path& directory, std::uint32_t events,
                            const std::string& repository) {
    const int id = ::inotify_add_watch(inotify_.get(), directory.c_str(),
                                       events | IN_ONLYDIR | IN_DONT_FOLLOW);
    if (id >= 0) watches_[id] = repository;
  };
  watch(layout_.status("x").parent_path(), status_events, "");
  watch(layout_.lock("x").parent_path(), lock_events, "");
  std::vector<std::string> repositories;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [repository, channel] : channels_)
      repositories.push_back(repository);
  }
  for (const std::string& repository : repositories) {
    watch(layout_.logs(repository), log_events, repository);
  }
}

// Only the log that an event is about matters; for everything else, checking what changed is cheap
// enough.
void BuildFeed::read_events(std::vector<std::string>& changed) {
  alignas(inotify_event) std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t n = ::read(inotify_.get(), buffer.data(), buffer.size());
    if (n <= 0) return;
    for (ssize_t at = 0; at < n;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      const auto found = watches_.find(event->wd);
      if (found == watches_.end()) continue;
      if (!found->second.empty()) changed.push_back(found->second);
      if ((event->mask & IN_IGNORED) != 0) watches_.erase(found);
    }
  }
}

void BuildFeed::refresh(const std::string& repository, bool log_changed) {
  if (!history_) history_ = std::make_unique<history::History>(layout_.history());
  auto found = readers_.find(repository);
  if (found == readers_.end()) {
    found =
        readers_
            .emplace(repository, Reader{history::StatusReader(layout_, *history_, repository), 0})
            .first;
  }
  Reader& reader = found->second;
  const std::uint64_t generation = reader.reader.generation();
  std::shared_ptr<const Snapshot> snapshot;
  if (generation != reader.generation) {
    auto fresh = std::make_shared<Snapshot>();
    fresh->status = reader.reader.read();
    fresh->json = protocol::to_json(fresh->status);
    // Reading may have corrected the history, which counts as a change too.
    reader.generation = generation;
    snapshot = std::move(fresh);
  }
  const std::lock_guard lock(mutex_);
  Channel& channel = channels_[repository];
  const bool status_changed =
      snapshot && (!channel.snapshot || channel.snapshot->json != snapshot->json);
  if (status_changed) channel.snapshot = std::move(snapshot);
  if (status_changed || log_changed) wake(channel);
}

std::shared_ptr<const LogChunk> BuildFeed::read_log(const std::string& repository,
                                                    std::int64_t build, std::uint64_t offset) {
  {
    const std::lock_guard lock(mutex_);
    const Channel& channel = channels_[repository];
    // An empty chunk may be out of date.
    if (channel.chunk && channel.chunk_build == build && channel.chunk_begin == offset &&
        channel.chunk->end > offset) {
      return channel.chunk;
    }
  }
  const auto log = history::LogFile::open(layout_, repository, build);
  const std::string lines = log ? log->read_lines(offset, chunk_limit) : std::string();
  auto chunk = std::make_shared<LogChunk>();
  chunk->end = offset;
  // As events, short lines become several times as long.
  for (std::string_view rest = lines; !rest.empty() && chunk->events.size() < chunk_limit;) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(line.size() + 1);
    chunk->end += line.size() + 1;
    fmt::format_to(std::back_inserter(chunk->events), "event: log\nid: {}:{}\ndata: {}\n\n", build,
                   chunk->end, line);
  }
  const std::lock_guard lock(mutex_);
  Channel& channel = channels_[repository];
  channel.chunk_build = build;
  channel.chunk_begin = offset;
  channel.chunk = chunk;
  return chunk;
}

BuildFeed::Follower::Follower(BuildFeed& feed, std::string repository)
    : feed_(feed), repository_(std::move(repository)) {
  {
    const std::lock_guard lock(feed_.mutex_);
    ++feed_.channels_[repository_].followers;
  }
  feed_.poke();
}

BuildFeed::Follower::~Follower() {
  const std::lock_guard lock(feed_.mutex_);
  --feed_.channels_[repository_].followers;
}

std::shared_ptr<const Snapshot> BuildFeed::Follower::snapshot() const {
  const std::lock_guard lock(feed_.mutex_);
  return feed_.channels_[repository_].snapshot;
}

asio::awaitable<void> BuildFeed::Follower::wait(std::chrono::steady_clock::time_point until) {
  Channel* channel = nullptr;
  {
    const std::lock_guard lock(feed_.mutex_);
    channel = &feed_.channels_[repository_];  // never erased
  }
  asio::awaitable<bool> changed = channel->changed.wait_until(until, [this, channel] {
    const std::lock_guard lock(feed_.mutex_);
    return channel->version != seen_ || feed_.stopped_;
  });
  co_await std::move(changed);
  const std::lock_guard lock(feed_.mutex_);
  seen_ = channel->version;
}

}  // namespace nixbuild::api
