// Compresses the closures of paths in advance. run-build reports a build's outputs on the control
// socket, so that the files are ready when a client asks for them.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "common/compress/compression.hpp"
#include "common/nix/store_path.hpp"
#include "server/cache/compressed_nars.hpp"
#include "server/cache/narinfos.hpp"
#include "server/http/request.hpp"
#include "server/http/response.hpp"
#include "server/store/store_reader.hpp"

namespace nixbuild::cache {

class Warming {
 public:
  Warming(store::StoreReader& store, Narinfos& narinfos, CompressedNars& compressed,
          compress::Compression advertised, boost::asio::thread_pool& workers)
      : store_(store),
        narinfos_(narinfos),
        compressed_(compressed),
        advertised_(advertised),
        workers_(workers) {}

  // POST /warm: store paths, one per line. Answers as soon as their closures are queued: {"paths":
  // in the closures, "queued": to be compressed}.
  http::Reply handle(const http::Request& request);

  struct Statistics {
    std::uint64_t requests = 0;
    std::uint64_t paths = 0;
    std::uint64_t queued = 0;
  };
  Statistics statistics() const;

 private:
  struct Counts {
    std::uint64_t paths = 0;
    std::uint64_t queued = 0;
  };

  boost::asio::awaitable<http::Response> answer(std::vector<nix::StorePath> roots);
  std::vector<nix::PathInfo> closure_of(const std::vector<nix::StorePath>& roots,
                                        store::StoreDatabase& database) const;
  Counts warm(const std::vector<nix::StorePath>& roots);

  store::StoreReader& store_;
  Narinfos& narinfos_;
  CompressedNars& compressed_;
  const compress::Compression advertised_;
  boost::asio::thread_pool& workers_;
  std::atomic<std::uint64_t> requests_{0};
  std::atomic<std::uint64_t> paths_{0};
  std::atomic<std::uint64_t> queued_{0};
};

}  // namespace nixbuild::cache
