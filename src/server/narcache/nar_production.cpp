#include "server/narcache/nar_production.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <exception>
#include <utility>

#include "common/compress/compressor.hpp"
#include "server/store/nar_source.hpp"

namespace nixbuild::narcache {
namespace {

namespace asio = boost::asio;

struct Preempted {};

class Cancelled : public Error {
 public:
  Cancelled() : Error("no client waits for it") {}
};

// The cached file was damaged or deleted, and the recipe that made it is no longer available.
class NotReproducible : public Error {
 public:
  NotReproducible()
      : Error("it was compressed with another level or library, and its file was removed") {}
};

bool is_about_the_path(const std::exception& error) {
  return dynamic_cast<const DamagedPath*>(&error) != nullptr ||
         dynamic_cast<const NotReproducible*>(&error) != nullptr || store::blames_path(error);
}

}  // namespace

NarProduction::NarProduction(NarCache& cache, Task task, Ended ended)
    : cache_(cache), task_(std::move(task)), ended_(std::move(ended)) {}

asio::awaitable<NarProduction::Progress> NarProduction::wait(std::uint64_t beyond) {
  asio::awaitable<void> changed = changed_.wait([this, beyond] {
    const Progress now = progress();
    return now.state != State::running || now.available > beyond;
  });
  co_await std::move(changed);
  co_return progress();
}

asio::awaitable<NarProduction::Progress> NarProduction::wait_for_end() {
  asio::awaitable<void> changed =
      changed_.wait([this] { return progress().state != State::running; });
  co_await std::move(changed);
  co_return progress();
}

NarProduction::Progress NarProduction::progress() const {
  const std::lock_guard lock(mutex_);
  return progress_;
}

std::shared_ptr<const UniqueFd> NarProduction::file() const {
  const std::lock_guard lock(mutex_);
  return file_;
}

std::string NarProduction::error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

bool NarProduction::blames_path() const {
  const std::lock_guard lock(mutex_);
  return blames_path_;
}

void NarProduction::publish(State state, std::uint64_t available) {
  {
    const std::lock_guard lock(mutex_);
    progress_ = {state, available};
    if (writer_ && !file_) file_ = writer_->file();
  }
  changed_.notify_all();
}

bool NarProduction::run(JobQueue::Slot& slot) noexcept {
  begun_ = true;
  try {
    if (!writer_ && take_from_cache()) return true;
    if (!task_.reproducible) throw NotReproducible();
    make(slot);
    keep(slot);
  } catch (const Preempted&) {
    return false;
  } catch (const NarCacheError& error) {
    give_up(State::unkept, error);
  } catch (const std::exception& error) {
    give_up(State::failed, error);
  }
  return true;
}

void NarProduction::abandon() noexcept {
  give_up(State::failed, Cancelled());
}

// Followers keep what has been written; the file's name is removed.
void NarProduction::give_up(State state, const std::exception& reason) {
  ended_(*this, &reason);
  {
    const std::lock_guard lock(mutex_);
    error_ = reason.what();
    blames_path_ = is_about_the_path(reason);
  }
  publish(state, progress().available);
  writer_.reset();
}

// If an entry must be checked before use, checks it here, off the serving threads.
bool NarProduction::take_from_cache() {
  NarCache::Opened opened = cache_.open(task_.key);
  if (opened.state == NarCache::State::unverified) {
    cache_.verify(task_.key);
    opened = cache_.open(task_.key);
  }
  if (opened.state != NarCache::State::trusted) return false;
  {
    const std::lock_guard lock(mutex_);
    file_ = opened.file.file;
  }
  publish(State::complete, opened.file.info.size);
  ended_(*this, nullptr);
  return true;
}

void NarProduction::make(JobQueue::Slot& slot) {
  if (cancelled_) throw Cancelled();
  const auto begin = std::chrono::steady_clock::now();
  if (!writer_) writer_ = cache_.create(task_.key, task_.keep_used_since);
  std::uint64_t written_before = writer_->size();
  const auto compressor = compress::make_compressor(
      task_.key.recipe, task_.input.size, slot.threads(), [&](std::string_view bytes) {
        const std::uint64_t known = std::min<std::uint64_t>(written_before, bytes.size());
        written_before -= known;
        bytes.remove_prefix(static_cast<std::size_t>(known));
        if (bytes.empty()) return;
        writer_->append(bytes);
        hasher_.update(bytes);
        publish(State::running, writer_->size());
      });
  std::uint64_t consumed = 0;
  read_nar(task_.input, [&](std::string_view bytes) {
    if (cancelled_) throw Cancelled();
    consumed += bytes.size();
    // Near the end, finishing is cheaper than starting again.
    if (preempted_ && consumed < task_.input.size / 4 * 3) throw Preempted();
    compressor->write(bytes);
  });
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  seconds_ = taken.count();
}

// Followers get all bytes before they are flushed to disk.
void NarProduction::keep(JobQueue::Slot& slot) {
  publish(State::complete, writer_->size());
  slot.release();
  try {
    writer_->commit(hasher_.finish());
    ended_(*this, nullptr);
  } catch (const NarCacheError& error) {
    ended_(*this, &error);
  }
  writer_.reset();
}

}  // namespace nixbuild::narcache
