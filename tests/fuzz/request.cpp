// An HTTP request, read at once and in pieces: either both ways accept it with the same result, or
// neither does. Also tests how its target and headers are parsed.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "check.hpp"
#include "server/http/conditions.hpp"
#include "server/http/request_parser.hpp"
#include "server/http/router.hpp"
#include "server/http/target.hpp"

using namespace nixbuild::http;

namespace {

constexpr std::size_t target_limit = 100;
constexpr std::size_t body_limit = 200;

// The result of reading a request. At what point invalid input is refused, or whether more of it is
// awaited in vain, may depend on the pieces.
struct Outcome {
  bool head_accepted = false;
  bool body_accepted = false;
  std::size_t consumed = 0;
  std::string target;
  std::string host;
  std::string content;
  Method method = Method::other;
  bool keep_alive = false;

  bool operator==(const Outcome&) const = default;
};

// Reads the request in steps of `step` bytes.
Outcome read(RequestParser& parser, std::string_view bytes, std::size_t step) {
  Outcome outcome;
  parser.begin();
  std::size_t have = 0;
  RequestParser::State state = RequestParser::State::need_more;
  while (have < bytes.size() && state == RequestParser::State::need_more) {
    have = std::min(bytes.size(), have + step);
    state = parser.parse_header(bytes.substr(0, have));
  }
  if (state != RequestParser::State::done) return outcome;
  outcome.head_accepted = true;
  CHECK(parser.header_size() <= have);
  outcome.target = parser.target();
  outcome.host = parser.host();
  outcome.method = parser.method();
  outcome.keep_alive = parser.keep_alive();
  outcome.consumed = parser.header_size();
  if (!parser.has_body()) {
    outcome.body_accepted = true;
    return outcome;
  }
  if (parser.content_length() > body_limit) return outcome;
  parser.limit_body(body_limit);
  std::size_t taken = outcome.consumed;
  for (;;) {
    std::size_t consumed = 0;
    state = parser.parse_body(bytes.substr(taken, have - taken), consumed);
    CHECK(consumed <= have - taken);
    taken += consumed;
    if (state != RequestParser::State::need_more || have == bytes.size()) break;
    have = std::min(bytes.size(), have + step);
  }
  CHECK(parser.body().size() <= body_limit);
  if (state == RequestParser::State::done) {
    outcome.body_accepted = true;
    outcome.consumed = taken;
    outcome.content = parser.body();
  }
  return outcome;
}

const Router& router() {
  static const Router instance = [] {
    Router made;
    const Handler answer = [](const Request&, PathParameters) { return Response{}; };
    for (const char* pattern : {"/{a}.narinfo", "/nar/{a}-{b}.nar", "/nar/{a}.nar.{b}",
                                "/{a}/{b}/x{c}", "/log/{rest...}"}) {
      made.get(pattern, answer);
    }
    return made;
  }();
  return instance;
}

void check_target(std::string_view text) {
  std::string storage;
  Target target;
  if (!parse_target(text, storage, target)) return;
  CHECK(target.path.starts_with('/'));
  CHECK(target.path.find('\0') == std::string_view::npos);
  std::string_view rest = target.path;
  while (!rest.empty()) {
    rest.remove_prefix(1);
    const std::string_view segment = rest.substr(0, rest.find('/'));
    CHECK(segment != "." && segment != "..");
    rest.remove_prefix(segment.size());
  }
  const Router::Match match = router().match(Method::get, target.path);
  for (const std::string_view parameter : match.parameters()) {
    CHECK(!parameter.empty());
    CHECK(match.route == 4 || parameter.find('/') == std::string_view::npos);
  }
  Request request;
  request.query = target.query;
  request.query_parameter("lines");
}

void check_headers(const RequestParser& parser) {
  const ParsedRange parsed = parse_range(parser.range());
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1000}}) {
    if (parsed.form != RangeForm::one) break;
    const auto span = resolve_range(parsed.range, size, true);
    if (span) CHECK(span->offset <= size && span->length <= size - span->offset);
    if (span && span->length == 0) CHECK(span->offset == size);
  }
  none_match_hits(parser.if_none_match(), "\"etag\"");
  if_range_holds(parser.if_range(), "\"etag\"");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  RequestParser parser(target_limit);
  const Outcome whole = read(parser, bytes, std::max<std::size_t>(size, 1));
  if (whole.head_accepted) check_headers(parser);
  check_target(whole.target);
  check_target(bytes);
  RequestParser stepwise(target_limit);
  CHECK(whole == read(stepwise, bytes, 1));
  CHECK(whole == read(stepwise, bytes, 7));
  return 0;
}
