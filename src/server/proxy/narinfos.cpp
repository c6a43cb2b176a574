#include "server/proxy/narinfos.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/this_coro.hpp>
#include <vector>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "common/nix/store_path.hpp"

namespace nixbuild::proxy {
namespace {

namespace asio = boost::asio;
using Steady = std::chrono::steady_clock;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::size_t memory_limit = std::size_t{8} << 20;  // bytes
constexpr minutes found_lifetime{5};  // then the upstream is asked whether it has changed
// The same if its NAR is on disk.
constexpr minutes kept_lifetime{60};
constexpr seconds absent_lifetime{10};
constexpr minutes rejected_lifetime{10};
// An upstream that is up may take so long.
constexpr milliseconds longest_answer{5'000};
// Questions to one upstream at a time.
constexpr unsigned most_running = 64;
// Of all questions, the part that may be put to a second upstream because the first is slow.
constexpr double hedges_a_question = 0.1;
constexpr double most_hedges = 32;

std::int64_t seconds_now() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::floor<seconds>(now).count();
}

http::Response narinfo_response(const Found& found) {
  http::Response response;
  response.content_type = "text/x-nix-narinfo";
  response.body = found.text;
  return response;
}

}  // namespace

http::Response not_found() {
  http::Response response = http::text_response(404, "not found\n");
  response.cache_control = "no-store";
  return response;
}

// A place among the questions that run; the next one's when it goes.
class Narinfos::Turn {
 public:
  explicit Turn(Turns& turns) : turns_(turns) {}
  ~Turn() {
    if (!has_place_) return;
    while (!turns_.waiting.empty()) {
      const std::shared_ptr<async::Waiter> next = std::move(turns_.waiting.front());
      turns_.waiting.pop_front();
      // One that nobody else holds has given up.
      if (next.use_count() == 1) continue;
      next->wake();  // the place is handed over
      return;
    }
    --turns_.running;
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  asio::awaitable<void> take() {
    if (turns_.running < most_running) {
      ++turns_.running;
      has_place_ = true;
      co_return;
    }
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    auto waiter = std::make_shared<async::Waiter>(executor);
    turns_.waiting.push_back(waiter);
    while (!waiter->woken()) {
      asio::awaitable<void> waiting = waiter->wait();
      co_await std::move(waiting);
    }
    has_place_ = true;
  }

 private:
  Turns& turns_;
  bool has_place_ = false;
};

struct Narinfos::Candidate {
  Upstream* upstream = nullptr;
  QueryPtr query;
  bool done = false;
};

Narinfos::Narinfos(Upstreams& upstreams, DiskCache& disk, const nix::StoreDir& store_dir)
    : upstreams_(upstreams), disk_(disk), store_dir_(store_dir), memory_(memory_limit) {}

// From memory, or else read from disk.
const NarinfoMemory::Entry* Narinfos::known(Upstream& upstream, std::string_view hash_part) {
  if (const NarinfoMemory::Entry* entry = memory_.find(upstream, hash_part)) return entry;
  std::optional<KeptNarinfo> kept = disk_.narinfo(upstream.id(), hash_part);
  if (!kept) return nullptr;
  try {
    UpstreamNarinfo narinfo =
        parse_upstream_narinfo(store_dir_, hash_part, upstream.id(), kept->text);
    auto text = std::make_shared<const std::string>(std::exchange(narinfo.text, {}));
    // A clock that was set back makes it old.
    const seconds age(seconds_now() - kept->fetched);
    const seconds left = age >= seconds(0) ? found_lifetime - age : -kept_lifetime;
    memory_.put(upstream, hash_part,
                {std::make_shared<const Found>(Found{&upstream, std::move(narinfo), std::move(text),
                                                     std::move(kept->etag), kept->measured_hash}),
                 Steady::now() + left});
  } catch (const FormatError& error) {
    log::debug("narinfo on disk: {}", error.what());
    disk_.remove_narinfo(upstream.id(), hash_part);
  }
  return memory_.find(upstream, hash_part);
}

bool Narinfos::is_on_disk(const Found& found) const {
  const auto hash = found.file_hash();
  return hash && disk_.has_nar(*hash);
}

bool Narinfos::is_fresh(const NarinfoMemory::Entry& entry) const {
  const TimePoint now = Steady::now();
  if (now < entry.valid_until) return true;
  return entry.found && now < entry.valid_until + (kept_lifetime - found_lifetime) &&
         is_on_disk(*entry.found);
}

FoundPtr Narinfos::last_known(Upstream& upstream, std::string_view hash_part) {
  const NarinfoMemory::Entry* entry = known(upstream, hash_part);
  return entry != nullptr ? entry->found : nullptr;
}

// What can be answered without the upstream.
FoundPtr Narinfos::kept(Upstream& upstream, std::string_view hash_part) {
  if (!disk_.is_enabled()) return nullptr;
  FoundPtr found = last_known(upstream, hash_part);
  return found && is_on_disk(*found) ? found : nullptr;
}

const NarinfoMemory::Entry* Narinfos::remembered(Upstream& upstream, std::string_view hash_part) {
  const NarinfoMemory::Entry* entry = known(upstream, hash_part);
  return entry != nullptr && is_fresh(*entry) ? entry : nullptr;
}

http::Reply Narinfos::handle(std::string_view hash_part) {
  if (!nix::is_hash_part(hash_part)) return not_found();
  for (const auto& upstream : upstreams_.all()) {
    if (!upstream->is_up()) {
      if (const FoundPtr found = kept(*upstream, hash_part)) {
        ++statistics_.from_disk;
        return narinfo_response(*found);
      }
      if (upstream->is_away()) continue;
      if (Steady::now() >= upstreams_.deadline()) continue;
      return answer_later(std::string(hash_part));
    }
    const NarinfoMemory::Entry* entry = remembered(*upstream, hash_part);
    if (entry == nullptr) return answer_later(std::string(hash_part));
    if (entry->found) {
      ++statistics_.from_memory;
      return narinfo_response(*entry->found);
    }
  }
  ++statistics_.absent;
  return not_found();
}

asio::awaitable<http::Response> Narinfos::answer_later(std::string hash_part) {
  asio::awaitable<Answer> finding = find(std::move(hash_part));
  const Answer answer = co_await std::move(finding);
  if (!answer.found) {
    ++statistics_.absent;
    co_return not_found();
  }
  ++(answer.from_disk ? statistics_.from_disk : statistics_.from_upstreams);
  co_return narinfo_response(*answer.found);
}

// Goes through the upstreams anew whenever something has changed: a question is answered, an
// upstream is no longer unknown, or time is up.
asio::awaitable<Narinfos::Answer> Narinfos::find(std::string hash_part) {
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  hedges_left_ = std::min(most_hedges, hedges_left_ + hedges_a_question);
  std::vector<Candidate> candidates;
  for (const auto& upstream : upstreams_.all())
    candidates.push_back({upstream.get(), nullptr, false});
  TimePoint hedge_at = TimePoint::max();
  for (;;) {
    auto waiter = std::make_shared<async::Waiter>(executor);
    const TimePoint now = Steady::now();
    TimePoint wake_at = TimePoint::max();
    bool is_asking = false;
    for (Candidate& candidate : candidates) {
      if (candidate.done || !candidate.query) continue;
      if (candidate.query->found) co_return Answer{candidate.query->found, false};
      candidate.done = candidate.query->done;
      if (candidate.done) continue;
      candidate.query->changed->add(waiter);
      is_asking = true;
    }
    bool is_pending = is_asking;
    for (Candidate& candidate : candidates) {
      if (candidate.done || candidate.query) continue;
      Upstream& upstream = *candidate.upstream;
      if (upstream.state() == UpstreamState::unknown && now < upstreams_.deadline()) {
        upstream.changed().add(waiter);
        wake_at = std::min(wake_at, upstreams_.deadline());
        is_pending = true;
        continue;
      }
      if (!upstream.is_up()) {
        if (FoundPtr found = kept(upstream, hash_part)) co_return Answer{std::move(found), true};
        candidate.done = true;
        continue;
      }
      if (const NarinfoMemory::Entry* entry = remembered(upstream, hash_part)) {
        if (entry->found) co_return Answer{entry->found, false};
        candidate.done = true;
        continue;
      }
      is_pending = true;
      if (is_asking) {
        if (now < hedge_at) {
          wake_at = std::min(wake_at, hedge_at);
          break;
        }
        if (!take_hedge()) break;
      }
      candidate.query = query(upstream, hash_part);
      candidate.query->changed->add(waiter);
      if (candidate.query->done) wake_at = now;
      hedge_at = now + upstream.hedge_delay();
      is_asking = true;
    }
    if (!is_pending) break;
    asio::awaitable<void> waiting = waiter->wait(wake_at);
    co_await std::move(waiting);
  }
  // Those that were asked and did not say that they do not have it have failed.
  for (const Candidate& candidate : candidates) {
    if (FoundPtr found = kept(*candidate.upstream, hash_part)) {
      co_return Answer{std::move(found), true};
    }
  }
  co_return Answer{};
}

bool Narinfos::take_hedge() {
  if (hedges_left_ < 1) return false;
  hedges_left_ -= 1;
  ++statistics_.hedges;
  return true;
}

asio::awaitable<FoundPtr> Narinfos::ask(Upstream& upstream, std::string hash_part) {
  if (const NarinfoMemory::Entry* entry = remembered(upstream, hash_part)) co_return entry->found;
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  const QueryPtr asked = query(upstream, hash_part);
  while (!asked->done) {
    auto waiter = std::make_shared<async::Waiter>(executor);
    asked->changed->add(waiter);
    asio::awaitable<void> waiting = waiter->wait();
    co_await std::move(waiting);
  }
  co_return asked->found;
}

void Narinfos::reject(const Upstream& upstream, std::string_view hash_part) {
  memory_.put(upstream, hash_part, {nullptr, Steady::now() + rejected_lifetime});
  disk_.remove_narinfo(upstream.id(), hash_part);
}

void Narinfos::set_measured_hash(const Found& found, const nix::Sha256& file_hash) {
  const std::string hash_part(found.narinfo.fields.info.path.hash_part());
  const NarinfoMemory::Entry* entry = memory_.find(*found.upstream, hash_part);
  // Another narinfo has come meanwhile.
  if (entry == nullptr || entry->found.get() != &found || found.file_hash()) return;
  auto changed = std::make_shared<Found>(found);
  changed->measured_hash = file_hash;
  memory_.put(*found.upstream, hash_part, {std::move(changed), entry->valid_until});
  disk_.change_narinfo(found.upstream->id(), hash_part,
                       [file_hash](KeptNarinfo& kept) { kept.measured_hash = file_hash; });
}

Narinfos::QueryPtr Narinfos::query(Upstream& upstream, const std::string& hash_part) {
  QueryPtr& place = queries_[{&upstream, hash_part}];
  if (!place) {
    place = std::make_shared<Query>();
    // What it returns may be changed by the coroutine, which begins at once.
    QueryPtr begun = place;
    asio::co_spawn(loop_->executor(), run(upstream, hash_part, begun), asio::detached);
    return begun;
  }
  return place;
}

asio::awaitable<void> Narinfos::run(Upstream& upstream, std::string hash_part, QueryPtr query) {
  try {
    Turn turn(turns_[&upstream]);
    asio::awaitable<void> taking = turn.take();
    co_await std::move(taking);
    asio::awaitable<FoundPtr> requesting = request(upstream, hash_part);
    query->found = co_await std::move(requesting);
  } catch (const std::exception& error) {
    log::error("upstream {}: {}", upstream.url(), error.what());
  }
  query->done = true;
  queries_.erase({&upstream, hash_part});
  query->changed->wake_all();
}

asio::awaitable<FoundPtr> Narinfos::request(Upstream& upstream, std::string hash_part) {
  if (!upstream.is_up()) co_return nullptr;
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  const std::shared_ptr<HttpLoop> loop = loop_;
  const FoundPtr known = last_known(upstream, hash_part);
  TransferRequest wanted = upstream.request(hash_part + ".narinfo");
  wanted.decode = true;
  if (known) wanted.etag = known->etag;

  const auto changed = std::make_shared<WakeList>();
  std::vector<std::unique_ptr<Fetch>> fetches;
  fetches.push_back(std::make_unique<Fetch>(*loop, wanted, narinfo_limit, changed));
  const TimePoint began = Steady::now();
  const TimePoint doubt_at = began + upstream.doubt_delay();
  const std::uint64_t probes = upstream.probes_ended();
  bool is_doubted = false;
  for (;;) {
    const bool all_done = std::all_of(fetches.begin(), fetches.end(),
                                      [](const auto& fetch) { return fetch->done(); });
    for (const auto& fetch : fetches) {
      if (fetch->done() && (all_done || fetch->error().empty())) {
        co_return judge(upstream, hash_part, *fetch, known);
      }
    }
    if (upstream.is_away()) co_return nullptr;
    const TimePoint now = Steady::now();
    if (now >= began + longest_answer) {
      upstream.failed("no answer to a request for a narinfo");
      co_return nullptr;
    }
    if (now >= doubt_at && !is_doubted) {
      is_doubted = true;
      upstream.doubt();
    }
    if (is_doubted && fetches.size() == 1 && upstream.probes_ended() != probes) {
      // The upstream is there, so perhaps the connection is dead that the question went through.
      wanted.fresh_connection = true;
      fetches.push_back(std::make_unique<Fetch>(*loop, wanted, narinfo_limit, changed));
    }
    auto waiter = std::make_shared<async::Waiter>(executor);
    changed->add(waiter);
    upstream.changed().add(waiter);
    asio::awaitable<void> waiting = waiter->wait(is_doubted ? began + longest_answer : doubt_at);
    co_await std::move(waiting);
  }
}

FoundPtr Narinfos::judge(Upstream& upstream, std::string_view hash_part, const Fetch& fetch,
                         const FoundPtr& known) {
  if (!fetch.error().empty()) {
    upstream.failed(fetch.error());
    return nullptr;
  }
  const TimePoint now = Steady::now();
  switch (fetch.head().status) {
    case 304:
      if (!known) break;
      upstream.answered(fetch.time());
      memory_.put(upstream, hash_part, {known, now + found_lifetime});
      disk_.change_narinfo(upstream.id(), hash_part, [fetched = seconds_now()](KeptNarinfo& kept) {
        kept.fetched = fetched;
      });
      return known;
    case 401:
    case 403:
    case 404:
    case 410:
      upstream.answered(fetch.time());
      ++upstream.counters.narinfos_absent;
      memory_.put(upstream, hash_part, {nullptr, now + absent_lifetime});
      disk_.remove_narinfo(upstream.id(), hash_part);
      return nullptr;
    case 200:
      try {
        UpstreamNarinfo narinfo =
            parse_upstream_narinfo(store_dir_, hash_part, upstream.id(), fetch.body());
        auto text = std::make_shared<const std::string>(std::exchange(narinfo.text, {}));
        std::optional<nix::Sha256> measured_hash;
        if (known && known->narinfo.fields == narinfo.fields) measured_hash = known->measured_hash;
        FoundPtr found = std::make_shared<const Found>(Found{
            &upstream, std::move(narinfo), std::move(text), fetch.head().etag, measured_hash});
        upstream.answered(fetch.time());
        ++upstream.counters.narinfos_found;
        memory_.put(upstream, hash_part, {found, now + found_lifetime});
        disk_.put_narinfo(upstream.id(), hash_part,
                          {seconds_now(), found->etag, measured_hash, fetch.body()});
        return found;
      } catch (const FormatError& error) {
        upstream.failed(fmt::format("narinfo of {}: {}", hash_part, error.what()));
        return nullptr;
      }
    default:
      break;
  }
  upstream.failed(fmt::format("it answers {} for a narinfo", fetch.head().status));
  return nullptr;
}

}  // namespace nixbuild::proxy
