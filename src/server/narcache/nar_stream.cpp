#include "server/narcache/nar_stream.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "common/base/error.hpp"

namespace nixbuild::narcache {
namespace {

namespace asio = boost::asio;

constexpr std::size_t buffer_limit = 512 * 1024;  // bytes compressed ahead of the client
// Bytes returned at once. This is all that is kept for a stalled client after its run was
// suspended.
constexpr std::size_t piece_limit = 64 * 1024;

struct Enough {};
struct SentAway {};

}  // namespace

asio::awaitable<std::string> NarStream::read() {
  for (;;) {
    asio::awaitable<void> changed = changed_.wait([this] {
      const std::lock_guard lock(mutex_);
      return ended_ || suspended_ || !buffer_.empty();
    });
    co_await std::move(changed);
    {
      const std::lock_guard lock(mutex_);
      if (!buffer_.empty()) {
        std::string bytes = buffer_.substr(0, piece_limit);
        buffer_.erase(0, bytes.size());
        taken_.notify_all();
        co_return bytes;
      }
      if (ended_ && !error_.empty()) throw Error(error_);
      if (ended_) co_return std::string();
      suspended_ = false;
    }
    begin();
  }
}

NarCache::FileInfo NarStream::info() const {
  const std::lock_guard lock(mutex_);
  return info_;
}

void NarStream::cancel() noexcept {
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
  }
  taken_.notify_all();
}

void NarStream::send_away() noexcept {
  {
    const std::lock_guard lock(mutex_);
    sent_away_ = true;
  }
  taken_.notify_all();
}

bool NarStream::run(JobQueue::Slot& slot) noexcept {
  std::string error;
  bool sent_away = false;
  position_ = 0;
  hasher_ = nix::Sha256Hasher();
  try {
    std::unique_ptr<compress::Compressor> compressor;
    compressor =
        compress::make_compressor(task_.recipe, task_.input.size, slot.threads(),
                                  [&](std::string_view bytes) { take(bytes, *compressor, slot); });
    read_nar(task_.input, [&](std::string_view bytes) {
      if (cancelled_) throw Error("all clients have disconnected");
      compressor->write(bytes);
    });
    const std::lock_guard lock(mutex_);
    info_ = {hasher_.finish(), position_};
  } catch (const Enough&) {
  } catch (const SentAway&) {
    sent_away = true;
  } catch (const std::exception& thrown) {
    error = thrown.what();
  }
  if (sent_away) {
    suspend();
  } else {
    end(std::move(error));
  }
  return true;
}

void NarStream::take(std::string_view bytes, const compress::Compressor& compressor,
                     JobQueue::Slot& slot) {
  hasher_.update(bytes);
  const std::uint64_t wanted_end =
      task_.length > UINT64_MAX - task_.offset ? UINT64_MAX : task_.offset + task_.length;
  const std::uint64_t begin = position_;
  position_ += bytes.size();
  const std::uint64_t end = std::min(position_, wanted_end);
  bool added = false;
  {
    // Only this thread changes next_ while it runs.
    std::unique_lock lock(mutex_);
    if (next_ < end && buffer_.size() >= buffer_limit && !cancelled_) {
      lock.unlock();
      wait_for_room(compressor, slot);
      lock.lock();
    }
    if (next_ < end) {
      // A later run skips what an earlier one has already made.
      const std::uint64_t from = std::max(begin, next_);
      buffer_.append(bytes.substr(static_cast<std::size_t>(from - begin),
                                  static_cast<std::size_t>(end - from)));
      next_ = end;
      added = true;
    }
  }
  if (added) changed_.notify_all();
  if (task_.offset < wanted_end && position_ >= wanted_end) throw Enough();
}

// Lets another compression run while the client has enough data.
void NarStream::wait_for_room(const compress::Compressor& compressor, JobQueue::Slot& slot) {
  slot.release();
  room_.enter(*this, compressor.memory());
  {
    std::unique_lock lock(mutex_);
    taken_.wait(lock, [&] { return buffer_.size() < buffer_limit || cancelled_ || sent_away_; });
  }
  room_.leave(*this);
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(sent_away_, false)) {
      if (!cancelled_) throw SentAway();
    }
  }
  slot.acquire();
}

void NarStream::suspend() {
  {
    const std::lock_guard lock(mutex_);
    next_ -= buffer_.size();
    std::string().swap(buffer_);
    suspended_ = true;
  }
  changed_.notify_all();
}

void NarStream::end(std::string error) {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    error_ = std::move(error);
  }
  changed_.notify_all();
}

}  // namespace nixbuild::narcache
