// Answers for NARs: what an upstream sends, passed through while it comes.
//
// If an upstream fails in the middle of a file and another has the same one, the response goes on
// with that. The last bytes of a whole file are sent only if its hash is what the narinfo says;
// otherwise the connection is cut.
//
// With a cache on disk, a file is downloaded once for all clients that ask for it meanwhile: a
// Filling writes it to disk, and they follow the file as it grows. It goes on when they leave. If
// the disk cannot keep the file, each of them goes on by itself.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/request.hpp"
#include "server/http/response.hpp"
#include "server/proxy/disk_cache.hpp"
#include "server/proxy/download.hpp"
#include "server/proxy/narinfos.hpp"
#include "server/proxy/upstreams.hpp"

namespace nixbuild::proxy {

class Nars {
 public:
  struct Statistics {
    std::uint64_t sent = 0;       // whole files, and parts that a client asked for
    std::uint64_t from_disk = 0;  // of them
    std::uint64_t kept = 0;       // files
    std::uint64_t continued = 0;  // from another upstream, or from the same on a new connection
    std::uint64_t mismatches = 0;
    std::uint64_t cut = 0;
    std::size_t running = 0;
  };
  // A response on its way, for people.
  struct Progress {
    std::string path;      // its base name
    std::string upstream;  // URL
    std::uint64_t position = 0;
    std::optional<std::uint64_t> size;
  };

  Nars(Upstreams& upstreams, Narinfos& narinfos, DiskCache& disk)
      : upstreams_(upstreams), narinfos_(narinfos), disk_(disk) {}
  // To be called before the first request.
  void start(std::shared_ptr<HttpLoop> loop) { loop_ = std::move(loop); }
  void stop() { loop_.reset(); }

  // The three parts of "nar/HASHPART/UPSTREAM/FILE".
  http::Reply handle(const http::Request& request, std::string_view hash_part,
                     std::string_view upstream_id, std::string_view file);

  Statistics statistics() const noexcept;
  std::vector<Progress> running() const;

 private:
  struct Name {
    std::string hash_part;
    std::string upstream_id;
    std::string file;
  };
  // Where the bytes come from.
  struct Source {
    FoundPtr found;
    std::unique_ptr<Download> download;
    std::uint64_t position = 0;         // of the next byte in the file
    std::optional<std::uint64_t> size;  // of the file
    bool is_behind_end = false;         // the position is not in the file
  };
  // A response on its way.
  struct Transmission {
    Name name;
    Source source;
    std::map<const Upstream*, unsigned> failures;
    std::uint64_t progress = 0;  // bytes since the last failure
  };
  // Lists a transmission among those that are running while it lives.
  class Running {
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
  struct Filling;
  using FillingPtr = std::shared_ptr<Filling>;

  boost::asio::awaitable<http::Response> respond(Name name, std::optional<http::RangeRequest> range,
                                                 bool is_head);
  boost::asio::awaitable<std::optional<http::Response>> respond_from_disk(
      const Name& name, const std::optional<http::RangeRequest>& range, bool is_head);
  boost::asio::awaitable<FoundPtr> find(const Name& name);
  http::Response response_of(const Found& found, http::Body body,
                             std::optional<nix::Sha256> hash) const;
  FillingPtr begin_filling(const Name& name, std::string key);
  boost::asio::awaitable<void> fill(FillingPtr filling);
  boost::asio::awaitable<void> fill_from_upstreams(Filling& filling);
  boost::asio::awaitable<void> follow(http::BodyWriter& out, FillingPtr filling,
                                      std::uint64_t offset, std::uint64_t length);
  std::vector<Upstream*> candidates(const Name& name) const;
  boost::asio::awaitable<std::optional<Source>> open(const Transmission& transmission,
                                                     std::uint64_t position, FoundPtr same_as);
  boost::asio::awaitable<std::optional<Source>> open_at(Upstream& upstream, FoundPtr found,
                                                        std::uint64_t position);
  boost::asio::awaitable<void> send(http::BodyWriter& out,
                                    std::shared_ptr<Transmission> transmission,
                                    std::uint64_t offset, std::uint64_t length);
  boost::asio::awaitable<void> stream(http::BodyWriter& out, Transmission& transmission,
                                      std::optional<nix::Sha256Hasher> hasher,
                                      std::uint64_t length);
  void reject(const Transmission& transmission, const Found& found, const std::string& why);
  boost::asio::awaitable<bool> read(Transmission& transmission, std::string& bytes);
  boost::asio::awaitable<void> go_on(Transmission& transmission, std::string why);

  Upstreams& upstreams_;
  Narinfos& narinfos_;
  DiskCache& disk_;
  std::shared_ptr<HttpLoop> loop_;
  Statistics statistics_;
  std::set<const Transmission*> running_;
  std::map<std::string, FillingPtr> fillings_;  // by the file's hash, or its URL if that is unknown
};

}  // namespace nixbuild::proxy
