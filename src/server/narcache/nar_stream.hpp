// A compressed NAR made for a single client, at that client's speed, for when the NAR cache cannot
// store the file. Every run produces the same bytes as the file. So if too many streams wait for
// their clients, some are suspended, and start again when their clients continue.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "common/compress/compressor.hpp"
#include "server/async/condition_variable.hpp"
#include "server/narcache/job_queue.hpp"
#include "server/narcache/nar_cache.hpp"
#include "server/narcache/nar_reader.hpp"
#include "server/narcache/waiting_room.hpp"

namespace nixbuild::narcache {

class NarStream final : public JobQueue::Job,
                        private WaitingRoom::Guest,
                        public std::enable_shared_from_this<NarStream> {
 public:
  struct Task {
    NarInput input;
    compress::Recipe recipe;
    // The wanted bytes of the result. If `offset` is after its end: none, only its size and hash.
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
  };

  // `queue` and `room` must outlive the stream.
  NarStream(Task task, JobQueue& queue, WaitingRoom& room)
      : task_(std::move(task)), queue_(queue), room_(room), next_(task_.offset) {}

  // Call this once, before read().
  void begin() { queue_.add(shared_from_this(), Priority::foreground); }
  // The next bytes; empty at the end. Throws Error if the NAR cannot be made.
  boost::asio::awaitable<std::string> read();
  // For the whole result. Valid after read() has returned nothing and the NAR was read to its end.
  NarCache::FileInfo info() const;

  // Nobody needs the rest: read() throws after returning what was already made.
  void cancel() noexcept;

  bool run(JobQueue::Slot& slot) noexcept override;
  void preempt() noexcept override {}
  void abandon() noexcept override { end("the server is stopping"); }

 private:
  void take(std::string_view bytes, const compress::Compressor& compressor, JobQueue::Slot& slot);
  void wait_for_room(const compress::Compressor& compressor, JobQueue::Slot& slot);
  void send_away() noexcept override;
  void suspend();
  void end(std::string error);

  const Task task_;
  JobQueue& queue_;
  WaitingRoom& room_;
  // For the current run:
  std::uint64_t position_ = 0;
  nix::Sha256Hasher hasher_;

  std::atomic<bool> cancelled_{false};
  mutable std::mutex mutex_;
  std::condition_variable taken_;
  std::uint64_t next_;  // the position after buffer_
  std::string buffer_;
  bool sent_away_ = false;
  bool suspended_ = false;  // the run was suspended; the next read() starts it again
  bool ended_ = false;
  std::string error_;
  NarCache::FileInfo info_;
  async::ConditionVariable changed_;
};

}  // namespace nixbuild::narcache
