// The control socket's GET /records/ID: the record of a build, made from the history and signed
// with every key.
//
// This signature decides what machines activate. So the record is read from the history and never
// taken from the client, and only serve-api may request it: its user, or our own user if one user
// runs both. The builds' user may not.
#pragma once

#include <sys/types.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "server/cache/signing_keys.hpp"
#include "server/http/request.hpp"
#include "server/http/response.hpp"

namespace nixbuild::cache {

class BuildRecords {
 public:
  // Opens the history read-only for each request, on `workers`: it may not exist yet.
  BuildRecords(std::filesystem::path history, const SigningKeys& keys,
               boost::asio::thread_pool& workers)
      : history_(std::move(history)), keys_(keys), workers_(workers) {}

  // 200 with a protocol::SignedRecord; 403, 404, 422 or 503 with a reason as plain text.
  http::Reply handle(const http::Request& request, std::string_view id);

 private:
  boost::asio::awaitable<http::Response> answer(std::int64_t id);
  http::Response signed_record(std::int64_t id) const;

  const std::filesystem::path history_;
  const SigningKeys& keys_;
  boost::asio::thread_pool& workers_;
};

// Whether `peer` is serve-api's user. `own` is the user of this process, `api` that of an installed
// serve-api, if any.
bool may_ask_for_records(std::optional<uid_t> peer, uid_t own, std::optional<uid_t> api);

}  // namespace nixbuild::cache
