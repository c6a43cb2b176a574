#include "server/cache/build_records.hpp"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <functional>
#include <system_error>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "common/protocol/json.hpp"
#include "common/protocol/record.hpp"
#include "server/async/offload.hpp"
#include "server/history/history.hpp"
#include "server/http/socket_address.hpp"

namespace nixbuild::cache {
namespace {

namespace asio = boost::asio;

constexpr const char* api_user_name = "nixbuild-api";  // see systemd/nixbuild.sysusers.conf

std::optional<uid_t> api_user() {
  std::array<char, 4096> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwnam_r(api_user_name, &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr) {
    return std::nullopt;
  }
  return found->pw_uid;
}

std::string host_name() {
  std::array<char, 256> buffer{};  // POSIX: at most 255
  if (::gethostname(buffer.data(), buffer.size() - 1) != 0) return {};
  return buffer.data();
}

}  // namespace

bool may_ask_for_records(std::optional<uid_t> peer, uid_t own, std::optional<uid_t> api) {
  return peer && (*peer == own || peer == api);
}

http::Reply BuildRecords::handle(const http::Request& request, std::string_view id) {
  const auto peer = request.peer == "unix" ? http::peer_user(request.socket) : std::nullopt;
  if (!may_ask_for_records(peer, ::geteuid(), api_user())) {
    log::warn("refused to sign a build record for user {}: only {} may ask",
              peer ? std::to_string(*peer) : "unknown", api_user_name);
    return http::text_response(403, "build records are signed for serve-api's user only\n");
  }
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), number);
  if (error != std::errc() || end != id.data() + id.size() || number < 1) {
    return http::text_response(422, "expected the number of a build\n");
  }
  return answer(number);
}

asio::awaitable<http::Response> BuildRecords::answer(std::int64_t id) {
  std::function<http::Response()> work = [this, id] { return signed_record(id); };
  asio::awaitable<http::Response> reply = async::offload<http::Response>(workers_, std::move(work));
  co_return co_await std::move(reply);
}

http::Response BuildRecords::signed_record(std::int64_t id) const {
  std::error_code error;
  if (!std::filesystem::exists(history_, error)) {
    return http::text_response(
        503, fmt::format("serve-cache finds no history at {}; give serve-cache and serve-api the "
                         "same state directory\n",
                         history_.string()));
  }
  if (keys_.signs_nothing()) {
    return http::text_response(503, "it runs with --only-signed-by and has no key\n");
  }
  try {
    history::History history(history_, history::Access::read_only);
    auto record = history.record(id);
    if (!record) {
      return http::text_response(404, fmt::format("build #{} has no record: it has not ended, or "
                                                  "an older version of nixbuild made it\n",
                                                  id));
    }
    record->server = host_name();
    protocol::SignedRecord result{protocol::render_record(*record), {}};
    result.signatures = keys_.add_to({}, protocol::signed_text(result.record));
    return http::json_response(200, protocol::to_json(result));
  } catch (const Error& failure) {  // from the history or SQLite
    log::warn("no build record: {}", failure.what());
    return http::text_response(503, fmt::format("{}\n", failure.what()));
  }
}

}  // namespace nixbuild::cache
