// The part of Nars that keeps files on disk, and sends them from there.
#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "common/base/log.hpp"
#include "common/nix/hash.hpp"
#include "server/async/offload.hpp"
#include "server/proxy/file_check.hpp"
#include "server/proxy/nars.hpp"
#include "server/proxy/upstream_narinfo.hpp"
#include "server/proxy/wake_list.hpp"

namespace nixbuild::proxy {

namespace asio = boost::asio;

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

}  // namespace nixbuild::proxy
