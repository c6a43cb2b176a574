// The handler of /serve/HASHPART/…: single files and directories of a store path, for people and
// scripts that want one file rather than a NAR.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/unique_fd.hpp"
#include "server/cache/narinfos.hpp"
#include "server/http/response.hpp"
#include "server/store/store_reader.hpp"

namespace nixbuild::cache {

// A file or directory below a store path, opened.
struct StoreFile {
  UniqueFd fd;
  bool is_directory = false;
  std::uint64_t size = 0;  // of a file
};

// Opens `relative` below `root`, which is called `virtual_root` where the store's own symbolic
// links name it. Symbolic links are followed as long as they stay below `root`. Nothing when there
// is no such file, when it is neither file nor directory, or when a link leads out. Never blocks on
// a FIFO. Throws SystemError when the process itself cannot open anything.
std::optional<StoreFile> open_below(const std::filesystem::path& root,
                                    std::string_view virtual_root, std::string_view relative);

class StoreFiles {
 public:
  // Files are opened and directories read on `workers`.
  StoreFiles(store::StoreReader& store, Narinfos& narinfos, boost::asio::thread_pool& workers)
      : store_(store), narinfos_(narinfos), workers_(workers) {}

  // `relative`: what is below the path, decoded; empty for the path itself.
  http::Reply handle(std::string_view hash_part, std::string_view relative);

 private:
  boost::asio::awaitable<http::Response> answer(std::string hash_part, std::string relative);
  // On a worker thread.
  http::Response open(const nix::PathInfo& info, const std::string& relative) const;

  store::StoreReader& store_;
  Narinfos& narinfos_;
  boost::asio::thread_pool& workers_;
};

}  // namespace nixbuild::cache
