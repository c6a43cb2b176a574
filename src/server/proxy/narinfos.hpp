// Answers for narinfos: from memory, or by asking the upstreams in their order.
//
// An upstream is asked one question about a path at a time, however many clients want to know. The
// next upstream is asked when the one before it does not have the path or fails; and as well, if it
// takes longer than it usually does.
//
// With a cache on disk, a narinfo whose NAR is there is also answered while its upstream is away.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "server/http/request.hpp"
#include "server/http/response.hpp"
#include "server/proxy/disk_cache.hpp"
#include "server/proxy/narinfo_memory.hpp"
#include "server/proxy/upstreams.hpp"

namespace nixbuild::proxy {

class Narinfos {
 public:
  struct Statistics {
    std::uint64_t from_memory = 0;
    std::uint64_t from_disk = 0;  // while the upstream was away
    std::uint64_t from_upstreams = 0;
    std::uint64_t absent = 0;
    std::uint64_t hedges = 0;
  };

  Narinfos(Upstreams& upstreams, DiskCache& disk, const nix::StoreDir& store_dir);
  // To be called before the first request.
  void start(std::shared_ptr<HttpLoop> loop) { loop_ = std::move(loop); }
  void stop() { loop_.reset(); }

  http::Reply handle(std::string_view hash_part);

  // What this upstream says; null: it does not have the path, or cannot be asked.
  boost::asio::awaitable<FoundPtr> ask(Upstream& upstream, std::string hash_part);
  // What this upstream last said, however long ago; null: it did not have the path, or nothing is
  // known.
  FoundPtr last_known(Upstream& upstream, std::string_view hash_part);
  // The hash of the file that this narinfo, which does not have it, names.
  void set_measured_hash(const Found& found, const nix::Sha256& file_hash);
  // Its NAR was not what the narinfo says: the upstream is taken not to have it for some time.
  void reject(const Upstream& upstream, std::string_view hash_part);

  Statistics statistics() const noexcept { return statistics_; }
  const NarinfoMemory& memory() const noexcept { return memory_; }

 private:
  // A question that is under way.
  struct Query {
    bool done = false;
    FoundPtr found;
    std::shared_ptr<WakeList> changed = std::make_shared<WakeList>();
  };
  using QueryPtr = std::shared_ptr<Query>;
  // Of one upstream: how many questions run, and which wait for their turn.
  struct Turns {
    unsigned running = 0;
    std::deque<std::shared_ptr<async::Waiter>> waiting;
  };
  class Turn;
  struct Candidate;

  const NarinfoMemory::Entry* known(Upstream& upstream, std::string_view hash_part);
  bool is_fresh(const NarinfoMemory::Entry& entry) const;
  bool is_on_disk(const Found& found) const;
  FoundPtr kept(Upstream& upstream, std::string_view hash_part);
  const NarinfoMemory::Entry* remembered(Upstream& upstream, std::string_view hash_part);
  boost::asio::awaitable<http::Response> answer_later(std::string hash_part);
  struct Answer {
    FoundPtr found;  // null: nobody has it
    bool from_disk = false;
  };
  boost::asio::awaitable<Answer> find(std::string hash_part);
  QueryPtr query(Upstream& upstream, const std::string& hash_part);
  boost::asio::awaitable<void> run(Upstream& upstream, std::string hash_part, QueryPtr query);
  boost::asio::awaitable<FoundPtr> request(Upstream& upstream, std::string hash_part);
  FoundPtr judge(Upstream& upstream, std::string_view hash_part, const Fetch& fetch,
                 const FoundPtr& known);
  bool take_hedge();

  Upstreams& upstreams_;
  DiskCache& disk_;
  const nix::StoreDir store_dir_;
  std::shared_ptr<HttpLoop> loop_;
  NarinfoMemory memory_;
  std::map<std::pair<const Upstream*, std::string>, QueryPtr> queries_;
  std::unordered_map<const Upstream*, Turns> turns_;
  double hedges_left_ = 8;
  Statistics statistics_;
};

// 404 that no client keeps.
http::Response not_found();

}  // namespace nixbuild::proxy
