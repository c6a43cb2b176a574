// The handler of /HASHPART.ls: the files in a store path and their positions in its NAR.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "server/cache/narinfos.hpp"
#include "server/http/response.hpp"
#include "server/store/store_reader.hpp"

namespace nixbuild::cache {

class Listings {
 public:
  // Walks directory trees on `workers`, because a large one takes time.
  Listings(store::StoreReader& store, Narinfos& narinfos, boost::asio::thread_pool& workers)
      : store_(store), narinfos_(narinfos), workers_(workers) {}

  http::Reply handle(std::string_view hash_part);

 private:
  boost::asio::awaitable<http::Response> answer(std::string hash_part);
  // On a worker thread. Null if the path was deleted.
  http::SharedText listing_of(const nix::PathInfo& info);

  store::StoreReader& store_;
  Narinfos& narinfos_;
  boost::asio::thread_pool& workers_;
  // Listings being sent, shared with other clients that ask meanwhile: a large one has several
  // megabytes.
  std::mutex mutex_;
  std::map<nix::Sha256, std::weak_ptr<const std::string>> in_use_;
};

}  // namespace nixbuild::cache
