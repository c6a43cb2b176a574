// The handler of /nar/…: finds the path that a URL refers to, and sends its NAR, compressed or not.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

#include "common/nix/path_info.hpp"
#include "server/cache/compressed_nars.hpp"
#include "server/cache/nar_url.hpp"
#include "server/cache/narinfos.hpp"
#include "server/http/request.hpp"
#include "server/http/response.hpp"
#include "server/store/store_reader.hpp"

namespace nixbuild::cache {

class Nars {
 public:
  Nars(store::StoreReader& store, Narinfos& narinfos, CompressedNars& compressed,
       UnservablePaths& unservable)
      : store_(store), narinfos_(narinfos), compressed_(compressed), unservable_(unservable) {}

  // Answers GET /nar/{name}.
  http::Reply handle(const http::Request& request, std::string_view name);

 private:
  http::Reply answer(const nix::PathInfo& info, const NarUrl& url, bool ranged);
  http::Reply answer_plain(const nix::PathInfo& info);
  boost::asio::awaitable<http::Response> answer_later(NarUrl url, bool ranged);

  store::StoreReader& store_;
  Narinfos& narinfos_;
  CompressedNars& compressed_;
  UnservablePaths& unservable_;
};

}  // namespace nixbuild::cache
