#include "server/proxy/nars.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>
#include <vector>

#include "common/base/log.hpp"
#include "common/nix/hash.hpp"
#include "common/nix/store_path.hpp"
#include "server/proxy/upstream_narinfo.hpp"

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
