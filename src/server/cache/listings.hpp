// The handler of /HASHPART.ls: what is in a path, and where in its NAR each file lies.
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
  // Trees are walked on `workers`: a large one takes its time.
  Listings(store::StoreReader& store, Narinfos& narinfos, boost::asio::thread_pool& workers)
      : store_(store), narinfos_(narinfos), workers_(workers) {}

  http::Reply handle(std::string_view hash_part);

 private:
  boost::asio::awaitable<http::Response> answer(std::string hash_part);
  // On a worker thread. Null when the path has gone.
  http::SharedText listing_of(const nix::PathInfo& info);

  store::StoreReader& store_;
  Narinfos& narinfos_;
  boost::asio::thread_pool& workers_;
  // Those that are being sent, for others who ask meanwhile: a large one has some megabytes.
  std::mutex mutex_;
  std::map<nix::Sha256, std::weak_ptr<const std::string>> in_use_;
};

}  // namespace nixbuild::cache
