// The handler of /log/…: the build log of a derivation, given by base name or hash part, or of the
// derivation that produced a given output.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <memory>
#include <string_view>

#include "common/nix/store_path.hpp"
#include "server/http/response.hpp"
#include "server/store/store_reader.hpp"

namespace nixbuild::cache {

class BuildLogs {
 public:
  // Logs are decompressed on `workers`, in pieces as they are sent. The number of concurrent logs
  // is limited; further requests are answered 503.
  BuildLogs(store::StoreReader& store, boost::asio::thread_pool& workers)
      : store_(store), workers_(workers) {}

  http::Reply handle(std::string_view name);

 private:
  // 404 if there is no log.
  http::Response answer(const nix::StorePath& derivation);
  boost::asio::awaitable<http::Response> answer_for(std::string hash_part);

  store::StoreReader& store_;
  boost::asio::thread_pool& workers_;
  // Shared with the responses, which may outlive this.
  const std::shared_ptr<std::atomic<unsigned>> compressed_open_ =
      std::make_shared<std::atomic<unsigned>>(0);
};

}  // namespace nixbuild::cache
