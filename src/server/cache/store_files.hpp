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

// An open file or directory below a store path.
struct StoreFile {
  UniqueFd fd;
  bool is_directory = false;
  std::uint64_t size = 0;  // of a file
};

// Opens `relative` below `root`, which the store's own symbolic links call `virtual_root`. Follows
// symbolic links as long as they stay below `root`. Returns nothing if there is no such file, if it
// is neither a file nor a directory, or if a link leads out. Never blocks on a FIFO. Throws
// SystemError if the process itself cannot open anything.
std::optional<StoreFile> open_below(const std::filesystem::path& root,
                                    std::string_view virtual_root, std::string_view relative);

class StoreFiles {
 public:
  // Opens files and reads directories on `workers`.
  StoreFiles(store::StoreReader& store, Narinfos& narinfos, boost::asio::thread_pool& workers)
      : store_(store), narinfos_(narinfos), workers_(workers) {}

  // `relative`: the decoded path below the store path; empty for the store path itself.
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
