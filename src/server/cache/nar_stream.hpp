// A compressed NAR made for one client alone, as fast as that client takes it: what is left when
// the NAR cache cannot keep the file. The bytes are the same that the file would have.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

#include "server/cache/job_queue.hpp"
#include "server/cache/nar_cache.hpp"
#include "server/cache/nar_reader.hpp"
#include "server/cache/signal.hpp"

namespace nixbuild::cache {

class NarStream final : public JobQueue::Job {
 public:
  struct Task {
    NarInput input;
    Compression compression = Compression::zstd;
    int level = 0;
    // Which bytes of the result are wanted; beyond its end: none, only its size and hash.
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
  };

  explicit NarStream(Task task) : task_(std::move(task)) {}

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
  void take(std::string_view bytes, JobQueue::Slot& slot);
  void end(std::string error);

  const Task task_;
  std::atomic<bool> cancelled_{false};
  std::uint64_t position_ = 0;
  nix::Sha256Hasher hasher_;

  mutable std::mutex mutex_;
  std::condition_variable room_;
  std::string buffer_;
  bool ended_ = false;
  std::string error_;
  NarCache::FileInfo info_;
  Signal changed_;
};

}  // namespace nixbuild::cache
