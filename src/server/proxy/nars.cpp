#include "server/proxy/nars.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>
#include <vector>

#include "common/base/log.hpp"
#include "common/nix/hash.hpp"
#include "common/nix/store_path.hpp"
#include "server/async/offload.hpp"
#include "server/proxy/file_check.hpp"
#include "server/proxy/upstream_narinfo.hpp"
#include "server/proxy/wake_list.hpp"

namespace nixbuild::proxy {
namespace {

namespace asio = boost::asio;

// How often one upstream may fail within a response, without some progress between.
constexpr unsigned failures_a_response = 2;
constexpr std::uint64_t some_progress = std::uint64_t{1} << 20;  // bytes

// Whether `head` begins the file at `position`; otherwise why not, empty if it does not have it.
std::optional<std::string> problem_of(const ResponseHead& head, std::uint64_t position) {
  if (head.status == 404 || head.status == 403 || head.status == 410) return "";
  if (head.is_encoded) return "it encodes NARs";
  if (position == 0 && head.status == 200) return std::nullopt;
  if (position > 0 && head.status == 206 && head.range_first == position) return std::nullopt;
  if (position > 0 && head.status == 416 && head.range_size) return std::nullopt;
  if (position > 0 && head.status == 206) return "it sends another range than was asked for";
  return fmt::format("it answers {} for a NAR", head.status);
}

}  // namespace

// A file on its way to the disk.
struct Nars::Filling {
  enum class State : std::uint8_t {
    opening,
    running,
    complete,  // and right
    unkept,    // the disk does not take the rest: whoever follows gets it from an upstream
    failed,
  };

  Name name;
  std::string key;
  State state = State::opening;
  std::string error;                  // if it failed
  FoundPtr found;                     // what is being received; null: not yet known
  std::optional<std::uint64_t> size;  // of the file
  std::shared_ptr<const UniqueFd> file;
  std::shared_ptr<FileCheck> check;  // of what is written
  std::uint64_t written = 0;
  // What may be sent: not the last bytes, until it is known that the file is right.
  std::uint64_t available = 0;
  std::optional<nix::Sha256> hash;          // once complete
  std::optional<nix::Sha256Hasher> hasher;  // if unkept: of what is available
  std::shared_ptr<WakeList> changed = std::make_shared<WakeList>();

  bool has_ended() const noexcept { return state != State::opening && state != State::running; }
  void set(State next) {
    state = next;
    changed->wake_all();
  }
};

class Nars::Running {
 public:
  Running(std::set<const Transmission*>& all, const Transmission& one) : all_(all), one_(&one) {
    all_.insert(one_);
  }
  ~Running() { all_.erase(one_); }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

 private:
  std::set<const Transmission*>& all_;
  const Transmission* const one_;
};

Nars::Statistics Nars::statistics() const noexcept {
  Statistics statistics = statistics_;
  statistics.running = running_.size();
  return statistics;
}

std::vector<Nars::Progress> Nars::running() const {
  std::vector<Progress> list;
  for (const Transmission* transmission : running_) {
    const Source& source = transmission->source;
    list.push_back({source.found->narinfo.fields.info.path.base_name(),
                    source.found->upstream->url(), source.position, source.size});
  }
  return list;
}

http::Reply Nars::handle(const http::Request& request, std::string_view hash_part,
                         std::string_view upstream_id, std::string_view file) {
  if (!nix::is_hash_part(hash_part) || file_of_url(file) != file) return not_found();
  return respond({std::string(hash_part), std::string(upstream_id), std::string(file)},
                 request.range, request.is_head);
}

http::Response Nars::response_of(const Found& found, http::Body body,
                                 std::optional<nix::Sha256> hash) const {
  http::Response response;
  response.content_type = "application/x-nix-nar";
  response.cache_control = "public, max-age=31536000, immutable";
  response.accept_ranges = true;
  response.empty_range_at_end = true;
  if (!hash) hash = found.file_hash();
  if (hash) response.etag = fmt::format("\"{}\"", hash->base32());
  response.body = std::move(body);
  return response;
}

asio::awaitable<http::Response> Nars::respond(Name name, std::optional<http::RangeRequest> range,
                                              bool is_head) {
  if (disk_.is_enabled()) {
    asio::awaitable<std::optional<http::Response>> responding =
        respond_from_disk(name, range, is_head);
    std::optional<http::Response> response = co_await std::move(responding);
    if (response) co_return std::move(*response);
  }
  auto transmission = std::make_shared<Transmission>();
  transmission->name = std::move(name);
  const std::uint64_t position = range ? range->first.value_or(0) : 0;
  asio::awaitable<std::optional<Source>> opening = open(*transmission, position, nullptr);
  std::optional<Source> source = co_await std::move(opening);
  if (!source) co_return not_found();
  const auto size = source->size;
  // Without a size, a part of it cannot be sent. Nix takes 404 for a NAR that is gone.
  if (range && !size) co_return not_found();
  transmission->source = std::move(*source);
  http::StreamBody body{size, [this, transmission](http::BodyWriter& out, std::uint64_t offset,
                                                   std::uint64_t length) {
                          return send(out, transmission, offset, length);
                        }};
  co_return response_of(*transmission->source.found, std::move(body), std::nullopt);
}

// The narinfo of the file, without asking for one that was known before.
asio::awaitable<FoundPtr> Nars::find(const Name& name) {
  for (Upstream* upstream : candidates(name)) {
    FoundPtr found = narinfos_.last_known(*upstream, name.hash_part);
    if (!found) {
      if (upstream->state() == UpstreamState::unknown) {
        asio::awaitable<void> settling = upstreams_.settle(*upstream);
        co_await std::move(settling);
      }
      if (!upstream->is_up()) continue;
      asio::awaitable<FoundPtr> asking = narinfos_.ask(*upstream, name.hash_part);
      found = co_await std::move(asking);
    }
    if (found && found->narinfo.file == name.file) co_return found;
  }
  co_return nullptr;
}

// Nothing if the file is not on disk and is not to be brought there.
asio::awaitable<std::optional<http::Response>> Nars::respond_from_disk(
    const Name& name, const std::optional<http::RangeRequest>& range, bool is_head) {
  asio::awaitable<FoundPtr> finding = find(name);
  const FoundPtr found = co_await std::move(finding);
  if (!found) co_return std::nullopt;
  const auto hash = found->file_hash();
  if (hash) {
    asio::awaitable<std::optional<narcache::NarCache::OpenFile>> opening = disk_.open_nar(*hash);
    std::optional<narcache::NarCache::OpenFile> opened = co_await std::move(opening);
    if (opened) {
      ++statistics_.sent;
      ++statistics_.from_disk;
      co_return response_of(*found, http::FileBody{std::move(opened->file), opened->info.size},
                            hash);
    }
  }

  std::string key = hash
                        ? hash->base32()
                        : fmt::format("{}/{}/{}", name.hash_part, found->upstream->id(), name.file);
  const auto running = fillings_.find(key);
  FillingPtr filling = running != fillings_.end() ? running->second : nullptr;
  if (!filling) {
    // A part alone is not worth the whole file.
    const bool is_whole = !range || (range->first == 0 && !range->last);
    if (is_head || !is_whole || !disk_.accepts_nar(expected_size(found->narinfo.fields)) ||
        !FileCheck::create(found->narinfo.fields)) {
      co_return std::nullopt;
    }
    filling = begin_filling(name, std::move(key));
  }
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  // Of a file whose size is unknown, a part can be sent once it is whole.
  while (!filling->has_ended() && (filling->available == 0 || (range && !filling->size))) {
    auto waiter = std::make_shared<async::Waiter>(executor);
    filling->changed->add(waiter);
    asio::awaitable<void> waiting = waiter->wait();
    co_await std::move(waiting);
  }
  using State = Filling::State;
  if (filling->state == State::complete) {
    ++statistics_.sent;
    co_return response_of(*filling->found, http::FileBody{filling->file, filling->available},
                          filling->hash);
  }
  if (filling->available == 0 || (range && !filling->size)) co_return std::nullopt;
  http::StreamBody body{filling->size, [this, filling](http::BodyWriter& out, std::uint64_t offset,
                                                       std::uint64_t length) {
                          return follow(out, filling, offset, length);
                        }};
  co_return response_of(*filling->found, std::move(body), std::nullopt);
}

Nars::FillingPtr Nars::begin_filling(const Name& name, std::string key) {
  auto filling = std::make_shared<Filling>();
  filling->name = name;
  filling->key = std::move(key);
  fillings_.emplace(filling->key, filling);
  asio::co_spawn(loop_->executor(), fill(filling), asio::detached);
  return filling;
}

asio::awaitable<void> Nars::fill(FillingPtr filling) {
  using State = Filling::State;
  State end = State::complete;
  try {
    asio::awaitable<void> filling_it = fill_from_upstreams(*filling);
    co_await std::move(filling_it);
    ++statistics_.kept;
    disk_.succeeded();
  } catch (const narcache::NarCacheError& error) {
    disk_.failed(error);
    end = State::unkept;
  } catch (const UncheckableFile& error) {
    log::debug("{} is not kept: {}", filling->name.file, error.what());
    end = State::unkept;
  } catch (const std::exception& error) {
    filling->error = error.what();
    end = State::failed;
  }
  fillings_.erase(filling->key);
  if (filling->has_ended()) co_return;  // all have what they need
  if (end == State::unkept && filling->check) {
    filling->available = filling->written;
    filling->hasher = filling->check->hasher();
  }
  filling->set(end);
}

// Throws NarCacheError and UncheckableFile if the file cannot be kept, otherwise Error.
asio::awaitable<void> Nars::fill_from_upstreams(Filling& filling) {
  using Writer = narcache::NarCache::Writer;
  Transmission transmission;
  transmission.name = filling.name;
  asio::awaitable<std::optional<Source>> opening = open(transmission, 0, nullptr);
  std::optional<Source> source = co_await std::move(opening);
  if (!source) throw Error("no upstream has the file now");
  transmission.source = std::move(*source);
  const Running running(running_, transmission);
  const FoundPtr found = transmission.source.found;
  filling.found = found;
  filling.size = transmission.source.size;
  const std::shared_ptr<FileCheck> check = FileCheck::create(found->narinfo.fields);
  if (!check) throw UncheckableFile("its compression is unknown");
  if (!disk_.accepts_nar(filling.size)) throw narcache::NarTooLarge("it is too large");

  using WriterPtr = std::shared_ptr<Writer>;
  asio::awaitable<WriterPtr> creating = async::offload<WriterPtr>(
      disk_.writers(), [this] { return WriterPtr(disk_.nars().create(DiskCache::key_of({}))); });
  const WriterPtr writer = co_await std::move(creating);
  filling.check = check;
  filling.file = writer->file();
  filling.set(Filling::State::running);

  bool is_too_long = false;
  std::string bytes;
  while (!is_too_long) {
    asio::awaitable<bool> reading = read(transmission, bytes);
    const bool has_bytes = co_await std::move(reading);
    if (!has_bytes) break;
    // What came before is not the end.
    filling.available = filling.written;
    filling.changed->wake_all();
    const std::uint64_t count = bytes.size();
    is_too_long = filling.size && filling.written + count > *filling.size;
    asio::awaitable<bool> writing =
        async::offload<bool>(disk_.writers(), [writer, check, piece = std::move(bytes)] {
          writer->append(piece);
          check->update(piece);
          return true;
        });
    co_await std::move(writing);
    filling.written += count;
    bytes.clear();
  }
  std::optional<nix::Sha256> hash;
  if (!is_too_long) {
    filling.size = filling.written;
    hash = check->finish();
  }
  if (!hash) {
    const std::string why =
        fmt::format("{} does not have the hash that its narinfo says", found->narinfo.file);
    reject(transmission, *found, why);
    throw Error(why);
  }
  filling.hash = hash;
  filling.available = filling.written;
  filling.set(Filling::State::complete);
  asio::awaitable<bool> finishing =
      async::offload<bool>(disk_.finishers(), [writer, key = DiskCache::key_of(*hash)] {
        writer->set_key(key);
        writer->commit(key.nar_hash);
        return true;
      });
  co_await std::move(finishing);
  narinfos_.set_measured_hash(*found, *hash);
}

asio::awaitable<void> Nars::follow(http::BodyWriter& out, FillingPtr filling, std::uint64_t offset,
                                   std::uint64_t length) {
  using State = Filling::State;
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  // As in send().
  co_await asio::post(executor, asio::use_awaitable);
  const std::uint64_t end = length > UINT64_MAX - offset ? UINT64_MAX : offset + length;
  std::uint64_t position = offset;
  while (position < end) {
    const std::uint64_t until = std::min(filling->available, end);
    if (until > position) {
      asio::awaitable<void> sending =
          out.send_file(filling->file->get(), position, until - position);
      co_await std::move(sending);
      position = until;
      continue;
    }
    const bool is_at_end = filling->size && position >= *filling->size;
    if (filling->state == State::complete || (filling->state == State::unkept && is_at_end)) break;
    if (filling->state == State::failed) throw Error(filling->error);
    if (filling->state == State::unkept) {
      Transmission transmission;
      transmission.name = filling->name;
      asio::awaitable<std::optional<Source>> opening = open(transmission, position, filling->found);
      std::optional<Source> source = co_await std::move(opening);
      if (!source || source->is_behind_end) {
        ++statistics_.cut;
        throw Error("no upstream has the file now");
      }
      transmission.source = std::move(*source);
      const Running running(running_, transmission);
      const bool is_to_end = !filling->size || end >= *filling->size;
      std::optional<nix::Sha256Hasher> hasher;
      if (is_to_end && position == filling->available && filling->hasher) {
        hasher.emplace(*filling->hasher);
      }
      const std::uint64_t left = length == UINT64_MAX ? length : end - position;
      asio::awaitable<void> streaming = stream(out, transmission, std::move(hasher), left);
      co_await std::move(streaming);
      co_return;
    }
    auto waiter = std::make_shared<async::Waiter>(executor);
    filling->changed->add(waiter);
    asio::awaitable<void> waiting = waiter->wait();
    co_await std::move(waiting);
  }
  ++statistics_.sent;
}

// The upstream that is named, then the others.
std::vector<Upstream*> Nars::candidates(const Name& name) const {
  std::vector<Upstream*> list;
  for (const auto& upstream : upstreams_.all()) {
    const bool is_named = upstream->id() == name.upstream_id;
    list.insert(is_named ? list.begin() : list.end(), upstream.get());
  }
  return list;
}

// Of the upstreams that have the file, the first that sends it. `same_as` is what the beginning
// came from; null: nothing has come yet.
asio::awaitable<std::optional<Nars::Source>> Nars::open(const Transmission& transmission,
                                                        std::uint64_t position, FoundPtr same_as) {
  const Name& name = transmission.name;
  for (Upstream* upstream : candidates(name)) {
    const auto failures = transmission.failures.find(upstream);
    if (failures != transmission.failures.end() && failures->second >= failures_a_response)
      continue;
    if (upstream->state() == UpstreamState::unknown) {
      asio::awaitable<void> settling = upstreams_.settle(*upstream);
      co_await std::move(settling);
    }
    if (!upstream->is_up()) continue;
    asio::awaitable<FoundPtr> asking = narinfos_.ask(*upstream, name.hash_part);
    const FoundPtr found = co_await std::move(asking);
    if (!found) continue;
    const bool is_the_file = same_as && same_as->upstream != upstream
                                 ? is_same_file(found->narinfo.fields, same_as->narinfo.fields)
                                 : found->narinfo.file == name.file;
    if (!is_the_file) continue;
    asio::awaitable<std::optional<Source>> opening = open_at(*upstream, found, position);
    std::optional<Source> source = co_await std::move(opening);
    if (source) co_return source;
  }
  co_return std::nullopt;
}

asio::awaitable<std::optional<Nars::Source>> Nars::open_at(Upstream& upstream, FoundPtr found,
                                                           std::uint64_t position) {
  if (!loop_) co_return std::nullopt;
  Source source;
  source.found = found;
  source.position = position;
  std::optional<std::string> problem;
  try {
    source.download =
        std::make_unique<Download>(*loop_, upstream, found->narinfo.fields.url, position);
    asio::awaitable<void> waiting = source.download->wait_for_head();
    co_await std::move(waiting);
    problem = problem_of(source.download->head(), position);
  } catch (const Error& error) {
    problem = error.what();
  }
  if (!problem) {
    const ResponseHead& head = source.download->head();
    source.is_behind_end = head.status == 416;
    source.size = head.status == 200 ? head.length : head.range_size;
    const auto expected = expected_size(found->narinfo.fields);
    if (expected && source.size && *expected != *source.size) {
      problem = fmt::format("{}: the file has {} bytes, not {} as its narinfo says",
                            found->narinfo.file, *source.size, *expected);
      narinfos_.reject(upstream, found->narinfo.fields.info.path.hash_part());
    }
    if (!source.size) source.size = expected;
  }
  if (problem) {
    if (!problem->empty()) upstream.failed(*problem);
    co_return std::nullopt;
  }
  upstream.succeeded();
  co_return source;
}

// The next bytes, from wherever they are to be had; false at the end of the file.
asio::awaitable<bool> Nars::read(Transmission& transmission, std::string& bytes) {
  for (;;) {
    Source& source = transmission.source;
    std::string failure;
    bool has_bytes = false;
    try {
      asio::awaitable<bool> reading = source.download->read(bytes);
      has_bytes = co_await std::move(reading);
    } catch (const Error& error) {
      failure = error.what();
    }
    if (has_bytes) {
      source.position += bytes.size();
      source.found->upstream->counters.nar_bytes += bytes.size();
      transmission.progress += bytes.size();
      co_return true;
    }
    if (failure.empty() && source.size && source.position < *source.size) {
      failure = "its file ended early";
    }
    if (failure.empty()) co_return false;
    asio::awaitable<void> going_on = go_on(transmission, std::move(failure));
    co_await std::move(going_on);
  }
}

// After a failure in the middle. Throws Error if no upstream has the rest.
asio::awaitable<void> Nars::go_on(Transmission& transmission, std::string why) {
  Upstream& failed = *transmission.source.found->upstream;
  const std::uint64_t position = transmission.source.position;
  failed.failed(why);
  if (transmission.progress >= some_progress) transmission.failures.clear();
  transmission.progress = 0;
  ++transmission.failures[&failed];
  const FoundPtr same_as = transmission.source.found;
  transmission.source.download.reset();
  asio::awaitable<std::optional<Source>> opening = open(transmission, position, same_as);
  std::optional<Source> source = co_await std::move(opening);
  if (!source || source->is_behind_end) {
    ++statistics_.cut;
    throw Error(fmt::format("upstream {}: {}, and no other has the rest of {}", failed.url(), why,
                            transmission.name.file));
  }
  ++statistics_.continued;
  log::info("{} resumes at byte {} from {}, because of {}: {}", transmission.name.file, position,
            source->found->upstream->url(), failed.url(), why);
  transmission.source = std::move(*source);
}

asio::awaitable<void> Nars::send(http::BodyWriter& out, std::shared_ptr<Transmission> transmission,
                                 std::uint64_t offset, std::uint64_t length) {
  const Running running(running_, *transmission);
  // Lets the head leave first: whatever goes wrong then cuts the connection, and is no 500.
  co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
  Source& source = transmission->source;
  if (source.position != offset || source.is_behind_end) {
    if (length == 0) co_return;
    asio::awaitable<std::optional<Source>> opening = open(*transmission, offset, source.found);
    std::optional<Source> other = co_await std::move(opening);
    if (!other) throw Error("no upstream has the file now");
    source = std::move(*other);
  }
  const bool is_whole = offset == 0 && (!source.size || length >= *source.size);
  std::optional<nix::Sha256Hasher> hasher;
  if (is_whole && expected_hash(source.found->narinfo.fields)) hasher.emplace();
  asio::awaitable<void> streaming = stream(out, *transmission, std::move(hasher), length);
  co_await std::move(streaming);
}

// The file's next `length` bytes. `hasher`, of what is before, is for those that go to its end.
asio::awaitable<void> Nars::stream(http::BodyWriter& out, Transmission& transmission,
                                   std::optional<nix::Sha256Hasher> hasher, std::uint64_t length) {
  const FoundPtr found = transmission.source.found;  // whose hash counts
  std::string held;  // the last bytes, until it is known that they are the last
  std::string bytes;
  std::uint64_t left = length;
  while (left > 0) {
    asio::awaitable<bool> reading = read(transmission, bytes);
    const bool has_bytes = co_await std::move(reading);
    if (!has_bytes) break;
    if (bytes.size() > left) bytes.resize(static_cast<std::size_t>(left));
    if (length != UINT64_MAX) left -= bytes.size();
    if (hasher) hasher->update(bytes);
    if (!held.empty()) {
      asio::awaitable<void> writing = out.write(held);
      co_await std::move(writing);
    }
    held.swap(bytes);
  }
  if (hasher && hasher->finish() != expected_hash(found->narinfo.fields)) {
    const std::string why =
        fmt::format("{} does not have the hash that its narinfo says", found->narinfo.file);
    reject(transmission, *found, why);
    throw Error(why);
  }
  if (!held.empty()) {
    asio::awaitable<void> writing = out.write(held);
    co_await std::move(writing);
  }
  ++statistics_.sent;
}

// The file that came, of the narinfo `found`, is wrong.
void Nars::reject(const Transmission& transmission, const Found& found, const std::string& why) {
  ++statistics_.mismatches;
  log::warn("upstream {}: {}; it is not asked for this path for some time", found.upstream->url(),
            why);
  found.upstream->failed(why);
  // If another sent the end, either may be wrong.
  narinfos_.reject(*found.upstream, transmission.name.hash_part);
  narinfos_.reject(*transmission.source.found->upstream, transmission.name.hash_part);
}

}  // namespace nixbuild::proxy
