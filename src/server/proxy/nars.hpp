// Answers for NARs: what an upstream sends, passed through while it comes.
//
// If an upstream fails in the middle of a file and another has the same one, the response goes on
// with that. The last bytes of a whole file are sent only if its hash is what the narinfo says;
// otherwise the connection is cut.
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
#include "server/proxy/download.hpp"
#include "server/proxy/narinfos.hpp"
#include "server/proxy/upstreams.hpp"

namespace nixbuild::proxy {

class Nars {
 public:
  struct Statistics {
    std::uint64_t sent = 0;       // whole files, and parts that a client asked for
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

  Nars(Upstreams& upstreams, Narinfos& narinfos) : upstreams_(upstreams), narinfos_(narinfos) {}
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
  class Running;

  boost::asio::awaitable<http::Response> respond(Name name,
                                                 std::optional<http::RangeRequest> range);
  boost::asio::awaitable<std::optional<Source>> open(const Transmission& transmission,
                                                     std::uint64_t position, FoundPtr same_as);
  boost::asio::awaitable<std::optional<Source>> open_at(Upstream& upstream, FoundPtr found,
                                                        std::uint64_t position);
  boost::asio::awaitable<void> send(http::BodyWriter& out,
                                    std::shared_ptr<Transmission> transmission,
                                    std::uint64_t offset, std::uint64_t length);
  boost::asio::awaitable<bool> read(Transmission& transmission, std::string& bytes);
  boost::asio::awaitable<void> go_on(Transmission& transmission, std::string why);

  Upstreams& upstreams_;
  Narinfos& narinfos_;
  std::shared_ptr<HttpLoop> loop_;
  Statistics statistics_;
  std::set<const Transmission*> running_;
};

}  // namespace nixbuild::proxy
