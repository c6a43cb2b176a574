#include "server/cache/narinfos.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "server/cache/nar_url.hpp"
#include "server/cache/responses.hpp"

namespace nixbuild::cache {
namespace {

namespace asio = boost::asio;

constexpr std::size_t memory_limit = std::size_t{32} << 20;  // bytes

// Short enough for std::string's internal buffer.
std::string etag_of(std::string_view text) {
  return fmt::format("\"{:.13}\"", nix::sha256(text).base32());
}

http::Response no_such_path() {
  static const http::SharedText text = std::make_shared<const std::string>("no such path\n");
  http::Response response;
  response.status = 404;
  response.body = text;
  response.cache_control = not_kept;
  return response;
}

void count(std::atomic<std::uint64_t>& counter) {
  counter.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

Narinfos::Narinfos(store::StoreReader& store, const narcache::NarCache& files,
                   const SigningKeys& keys, const UnservablePaths& unservable,
                   compress::Recipe advertised, std::vector<std::string> skip_signed_by)
    : store_(store),
      files_(files),
      keys_(keys),
      unservable_(unservable),
      advertised_(advertised),
      cache_(memory_limit) {
  this->skip_signed_by(std::move(skip_signed_by));
}

void Narinfos::skip_signed_by(std::vector<std::string> key_names) {
  const std::lock_guard lock(skip_mutex_);
  skip_signed_by_.store(&skip_lists_.emplace_back(std::move(key_names)), std::memory_order_release);
}

http::Reply Narinfos::handle(const http::Request& request, std::string_view hash_part) {
  if (!nix::is_hash_part(hash_part)) return no_such_path();
  const bool json = !request.query.empty() && request.query_parameter("json").has_value();
  try {
    return answer(look_up(hash_part), json);
  } catch (const store::StoreUnavailable&) {
    return answer_later(std::string(hash_part), json);
  }
}

NarinfoCache::Entry Narinfos::look_up(std::string_view hash_part) {
  return store_.now([&](store::StoreDatabase& database) { return look_up(database, hash_part); });
}

NarinfoCache::Entry Narinfos::look_up(store::StoreDatabase& database, std::string_view hash_part) {
  // Read the generations before the data: a change in between then only causes an unnecessary
  // second look, never a stale entry.
  const NarinfoStamp stamp{database.generation(), files_.generation(), keys_.generation()};
  NarinfoCache::Found found = cache_.find(hash_part, stamp);
  if (found.current) return found.entry;
  std::optional<nix::PathInfo> info = database.query_path_info(hash_part);
  if (!info) {
    if (found.entry) cache_.erase(hash_part);
    count(absent_);
    return nullptr;
  }
  count(misses_);
  NarinfoCache::Entry entry = render(std::move(*info), found.entry, stamp);
  cache_.put(hash_part, entry, stamp);
  return entry;
}

// Reuses what is still valid in `previous`.
NarinfoCache::Entry Narinfos::render(nix::PathInfo registered, const NarinfoCache::Entry& previous,
                                     const NarinfoStamp& stamp) const {
  std::optional<narcache::NarCache::FileInfo> file;
  compress::Recipe made_by = advertised_;
  if (advertised_.compression == compress::Compression::none) {
    file = {registered.nar_hash, registered.nar_size};  // the NAR is the file
  } else if (const auto kept = files_.find_any({registered.nar_hash, advertised_});
             kept && kept->key.recipe.library != 0) {
    made_by = kept->key.recipe;
    file = kept->info;
  }
  const auto wanted_hash = file ? std::optional(file->hash) : std::nullopt;
  const auto wanted_size = file ? std::optional(file->size) : std::nullopt;
  const bool signed_already =
      previous && previous->registered == registered && previous->keys == stamp.keys;
  if (signed_already && previous->narinfo.file_hash == wanted_hash &&
      previous->narinfo.file_size == wanted_size) {
    return previous;
  }
  nix::NarInfo narinfo{registered, {}, {}, wanted_hash, wanted_size};
  narinfo.info.signatures =
      signed_already ? previous->narinfo.info.signatures
                     : keys_.add_to(registered.signatures,
                                    nix::fingerprint(store_.layout().store_dir, registered));
  narinfo.url = render_nar_url(registered.nar_hash, made_by, registered.path.hash_part());
  narinfo.compression = name_of(made_by.compression);
  std::string text = nix::render_narinfo(store_.layout().store_dir, narinfo);
  std::string etag = etag_of(text);
  return std::make_shared<const RenderedNarinfo>(
      RenderedNarinfo{std::move(registered), std::move(narinfo), stamp.keys,
                      std::make_shared<const std::string>(std::move(text)), std::move(etag)});
}

// A previously known path is better than an error, if the database stays unavailable.
asio::awaitable<http::Response> Narinfos::answer_later(std::string hash_part, bool json) {
  const auto unavailable = store_.unavailable_for();
  if (unavailable && *unavailable >= store_.patience()) {
    if (const auto entry = remembered(hash_part)) {
      count(from_memory_);
      co_return answer(entry, json);
    }
  }
  try {
    const auto query = [this, &hash_part](store::StoreDatabase& database) {
      return look_up(database, hash_part);
    };
    asio::awaitable<NarinfoCache::Entry> asking = store_.patiently<NarinfoCache::Entry>(query);
    const NarinfoCache::Entry entry = co_await std::move(asking);
    co_return answer(entry, json);
  } catch (const store::StoreUnavailable&) {
  }
  const auto entry = remembered(hash_part);
  if (!entry) co_return store_unavailable();
  count(from_memory_);
  co_return answer(entry, json);
}

NarinfoCache::Entry Narinfos::remembered(std::string_view hash_part) {
  return cache_.find_any(hash_part);
}

bool Narinfos::skipped(const nix::PathInfo& info) const {
  const std::vector<std::string>& names = *skip_signed_by_.load(std::memory_order_acquire);
  if (names.empty()) return false;
  return std::any_of(info.signatures.begin(), info.signatures.end(), [&](const auto& signature) {
    const std::string_view name = std::string_view(signature).substr(0, signature.find(':'));
    return std::find(names.begin(), names.end(), name) != names.end();
  });
}

http::Response Narinfos::answer(const NarinfoCache::Entry& entry, bool json) {
  if (!entry || skipped(entry->registered) || unservable_.contains(entry->registered.path)) {
    return no_such_path();
  }
  http::Response response;
  response.cache_control = "public, max-age=300";
  if (json) {
    response.content_type = "application/json";
    response.body = nix::render_narinfo_json(store_.layout().store_dir, entry->narinfo);
    return response;
  }
  response.content_type = "text/x-nix-narinfo";
  response.etag = entry->etag;
  response.body = entry->text;
  return response;
}

Narinfos::Statistics Narinfos::statistics() const {
  Statistics result;
  result.misses = misses_.load(std::memory_order_relaxed);
  result.absent = absent_.load(std::memory_order_relaxed);
  result.from_memory = from_memory_.load(std::memory_order_relaxed);
  const NarinfoCache::Statistics memory = cache_.statistics();
  result.hits = memory.hits;
  result.entries = memory.entries;
  result.bytes = memory.bytes;
  return result;
}

}  // namespace nixbuild::cache
