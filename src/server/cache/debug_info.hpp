// Separate debug information by build id, from store paths whose names end in -debug:
//
//   /debuginfo/ID, /debuginfo/ID.debug   its location, {"archive": URL of a NAR, "member": file in
//   it},
//                                        in the format of Nix's `index-debug-info`, for dwarffs
//   /buildid/ID/debuginfo                the file itself, for debuginfod's clients
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/cache/narinfos.hpp"
#include "server/http/response.hpp"
#include "server/store/store_reader.hpp"

namespace nixbuild::cache {

class DebugInfo {
 public:
  DebugInfo(store::StoreReader& store, Narinfos& narinfos, boost::asio::thread_pool& workers)
      : store_(store), narinfos_(narinfos), workers_(workers) {}

  http::Reply handle_index(std::string_view name);
  http::Reply handle_file(std::string_view build_id);

 private:
  enum class Form { index, file };
  struct Found {
    nix::StorePath path;
    std::string member;  // relative to the path
  };
  using Names = std::shared_ptr<const std::vector<nix::StorePath>>;

  boost::asio::awaitable<http::Response> answer(std::string build_id, Form form);
  // On a worker thread:
  std::vector<Found> find(const std::string& build_id);
  Names debug_paths();

  store::StoreReader& store_;
  Narinfos& narinfos_;
  boost::asio::thread_pool& workers_;
  std::mutex mutex_;
  Names paths_;
  std::chrono::steady_clock::time_point listed_at_;
};

}  // namespace nixbuild::cache
