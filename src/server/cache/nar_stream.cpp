#include "server/cache/nar_stream.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "common/base/error.hpp"
#include "server/cache/compressor.hpp"

namespace nixbuild::cache {
namespace {

namespace asio = boost::asio;

constexpr std::size_t buffer_limit = 512 * 1024;  // bytes made ahead of the client

struct Enough {};

}  // namespace

asio::awaitable<std::string> NarStream::read() {
  asio::awaitable<void> changed = changed_.wait([this] {
    const std::lock_guard lock(mutex_);
    return ended_ || !buffer_.empty();
  });
  co_await std::move(changed);
  std::string bytes;
  {
    const std::lock_guard lock(mutex_);
    bytes.swap(buffer_);
    if (bytes.empty() && !error_.empty()) throw Error(error_);
  }
  room_.notify_all();
  co_return bytes;
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
  room_.notify_all();
}

bool NarStream::run(JobQueue::Slot& slot) noexcept {
  std::string error;
  try {
    const auto compressor =
        make_compressor(task_.compression, task_.level, task_.input.size, slot.threads(),
                        [&](std::string_view bytes) { take(bytes, slot); });
    read_nar(task_.input, [&](std::string_view bytes) {
      if (cancelled_) throw Error("nobody wants it any more");
      compressor->write(bytes);
    });
    const std::lock_guard lock(mutex_);
    info_ = {hasher_.finish(), position_};
  } catch (const Enough&) {
  } catch (const std::exception& thrown) {
    error = thrown.what();
  }
  end(std::move(error));
  return true;
}

// Waits while the client has enough, and lets another compression run meanwhile.
void NarStream::take(std::string_view bytes, JobQueue::Slot& slot) {
  hasher_.update(bytes);
  const std::uint64_t begin = std::max(position_, task_.offset);
  position_ += bytes.size();
  const std::uint64_t wanted_end =
      task_.length > UINT64_MAX - task_.offset ? UINT64_MAX : task_.offset + task_.length;
  const std::uint64_t end = std::min(position_, wanted_end);
  std::unique_lock lock(mutex_);
  if (begin < end) {
    const std::uint64_t skipped = begin - (position_ - bytes.size());
    if (buffer_.size() >= buffer_limit && !cancelled_) {
      lock.unlock();
      slot.release();
      lock.lock();
      room_.wait(lock, [&] { return buffer_.size() < buffer_limit || cancelled_; });
      lock.unlock();
      slot.acquire();
      lock.lock();
    }
    buffer_.append(
        bytes.substr(static_cast<std::size_t>(skipped), static_cast<std::size_t>(end - begin)));
  }
  const bool enough = task_.offset < wanted_end && position_ >= wanted_end;
  lock.unlock();
  if (begin < end) changed_.notify();
  if (enough) throw Enough();
}

void NarStream::end(std::string error) {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    error_ = std::move(error);
  }
  changed_.notify();
}

}  // namespace nixbuild::cache
