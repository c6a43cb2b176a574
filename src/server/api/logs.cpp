#include "server/api/logs.hpp"

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "common/protocol/json.hpp"
#include "server/api/answers.hpp"
#include "server/history/log_file.hpp"

namespace nixbuild::api {
namespace {

namespace asio = boost::asio;
using history::LogFile;

constexpr std::size_t piece_size = std::size_t{32} << 10;

// The lines of `text` as elements of a JSON array, preceded by a comma if it is not `first`.
std::string json_elements(std::string_view text, bool first) {
  std::string out;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(line.size() + 1);
    if (!first) out += ',';
    first = false;
    out += protocol::json_string(line);
  }
  return out;
}

asio::awaitable<void> send_lines(http::BodyWriter& out, LogFile log, LogFile::Range range) {
  co_await out.write("{\"logs\":[");
  const std::uint64_t begin = range.begin;
  while (range.begin < range.end) {
    const std::string text = log.read_lines(range.begin, piece_size, range.end);
    if (text.empty()) break;  // the file was truncated meanwhile
    const std::string elements = json_elements(text, range.begin == begin);
    co_await out.write(elements);
    range.begin += text.size();
  }
  co_await out.write("]}");
}

}  // namespace

http::Response Logs::tail(history::History& history, const std::string& repository,
                          std::size_t lines) {
  const auto current = history.current(repository);
  auto log = current ? LogFile::open(layout_, repository, current->id) : std::nullopt;
  const LogFile::Range range = log ? log->tail(lines) : LogFile::Range{};
  if (range.end - range.begin <= piece_size) {
    const std::string text =
        log ? log->read_lines(range.begin, piece_size, range.end) : std::string();
    return http::json_response(200, "{\"logs\":[" + json_elements(text, true) + "]}");
  }
  http::Response response = http::json_response(200, {});
  response.body = http::StreamBody{std::nullopt,
                                   [log = *log, range](http::BodyWriter& out, std::uint64_t,
                                                       std::uint64_t) -> asio::awaitable<void> {
                                     return send_lines(out, log, range);
                                   }};
  return response;
}

http::Response Logs::stream(history::History& history, StreamRequest request,
                            std::optional<std::int64_t> lines) {
  const auto current = history.current(request.repository);
  if (request.build && (!current || *request.build != current->id)) {
    const auto wanted = history.get(*request.build);
    if (!wanted || wanted->repository != request.repository) {
      return error_response(404, fmt::format("no build #{} of {} in the history", *request.build,
                                             request.repository));
    }
  }
  if (!request.build && current) request.build = current->id;
  if (lines && request.build) {
    const auto log = LogFile::open(layout_, request.repository, *request.build);
    if (log) request.offset = log->tail(static_cast<std::size_t>(*lines)).begin;
  }
  return event_stream_response(feed_, std::move(request));
}

}  // namespace nixbuild::api
