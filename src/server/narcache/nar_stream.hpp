// A compressed NAR made for one client alone, as fast as that client takes it: what is left when
// the NAR cache cannot keep the file. The bytes are the same that the file would have, each time:
// so where many clients make theirs wait, some are given up and made anew when they are wanted.
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
    // Which bytes of the result are wanted; beyond its end: none, only its size and hash.
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
  };

  // `queue` and `room` outlive the stream.
  NarStream(Task task, JobQueue& queue, WaitingRoom& room)
      : task_(std::move(task)), queue_(queue), room_(room), next_(task_.offset) {}

  // To be called once, before read().
  void begin() { queue_.add(shared_from_this(), Priority::foreground); }
  // The next bytes, empty when there are no more. Throws Error when the NAR cannot be made.
  boost::asio::awaitable<std::string> read();
  // Of the whole result; once read() has returned nothing and the NAR was read to its end.
  NarCache::FileInfo info() const;

  // Nobody wants the rest: read() throws once what was made is read.
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
  // Of the run that goes on:
  std::uint64_t position_ = 0;
  nix::Sha256Hasher hasher_;

  std::atomic<bool> cancelled_{false};
  mutable std::mutex mutex_;
  std::condition_variable taken_;
  std::uint64_t next_;  // what comes behind buffer_
  std::string buffer_;
  bool sent_away_ = false;
  bool suspended_ = false;  // the run was given up; a reader has it begin anew
  bool ended_ = false;
  std::string error_;
  NarCache::FileInfo info_;
  async::ConditionVariable changed_;
};

}  // namespace nixbuild::narcache
