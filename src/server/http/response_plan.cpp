#include "server/http/response_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "common/base/log.hpp"
#include "server/http/ascii.hpp"
#include "server/http/conditions.hpp"
#include "server/http/contain.hpp"

namespace nixbuild::http {
namespace {

bool has_no_body(unsigned status) {
  return status < 200 || status == 204 || status == 304;
}

// Selects the whole body.
void select_body(ResponsePlan& plan, const Response& response) {
  BodyPart& body = plan.body;
  body = {};
  if (const auto* text = std::get_if<std::string>(&response.body)) {
    body.kind = BodyKind::memory;
    body.memory = *text;
    body.length = body.memory.size();
  } else if (const auto* shared = std::get_if<SharedText>(&response.body)) {
    body.kind = BodyKind::memory;
    body.memory = *shared ? std::string_view(**shared) : std::string_view();
    body.length = body.memory.size();
  } else if (const auto* file = std::get_if<FileBody>(&response.body)) {
    body.kind = BodyKind::file;
    body.length = file->size;
  } else if (const auto* stream = std::get_if<StreamBody>(&response.body)) {
    body.kind = BodyKind::stream;
    body.length = stream->size.value_or(UINT64_MAX);
    if (!stream->size) plan.facts.framing = Framing::chunked;
  }
  plan.facts.length = body.length;
}

void replace_by_error(ResponsePlan& plan, Response& response, const Router& errors, unsigned status,
                      std::string_view reason) {
  response = error_response(errors, status, reason);
  response.accept_ranges = true;
  plan.facts = {};
  plan.facts.status = status;
  select_body(plan, response);
}

void apply_range(ResponsePlan& plan, Response& response, const ResponseTerms& terms,
                 const Router& errors) {
  const bool size_known = plan.facts.framing != Framing::chunked;
  const std::uint64_t size = plan.body.length;
  if (*terms.range && !size_known) {
    // The client would take a 200 for the range and corrupt the file that it resumes.
    log::error("{}: a range was requested, but the response has no size", escaped(terms.target));
    return replace_by_error(plan, response, errors, 500, "internal error");
  }
  std::optional<ByteSpan> span;
  if (*terms.range) span = resolve_range(**terms.range, size, response.empty_range_at_end);
  if (!span) {
    std::string content_range = size_known ? fmt::format("bytes */{}", size) : std::string();
    replace_by_error(plan, response, errors, 416, "range not satisfiable");
    plan.facts.content_range = std::move(content_range);
    return;
  }
  plan.facts.status = 206;
  plan.facts.length = span->length;
  // An empty span cannot be written as first-last; clients use only the first number.
  plan.facts.content_range =
      span->length > 0
          ? fmt::format("bytes {}-{}/{}", span->offset, span->offset + span->length - 1, size)
          : fmt::format("bytes {}-{}/{}", size, size - std::min<std::uint64_t>(1, size), size);
  plan.body.offset = span->offset;
  plan.body.length = span->length;
  if (plan.body.kind == BodyKind::memory) {
    plan.body.memory = plan.body.memory.substr(span->offset, span->length);
  }
}

}  // namespace

Response error_response(const Router& router, unsigned status, std::string_view reason) {
  Response response;
  if (contain("rendering an error response",
              [&] { response = router.error_response(status, reason); })) {
    return response;
  }
  return text_response(status, std::string(reason) + "\n");
}

ResponsePlan plan_response(Response& response, const ResponseTerms& terms, const Router& errors) {
  ResponsePlan plan;
  plan.facts.status = response.status;
  plan.close = terms.close;
  select_body(plan, response);
  if (plan.facts.status == 200 && terms.method == Method::get) {
    if (!terms.if_none_match.empty() && none_match_hits(terms.if_none_match, response.etag)) {
      plan.facts.status = 304;
    } else if (response.accept_ranges && (*terms.range || terms.range_malformed) &&
               if_range_holds(terms.if_range, response.etag)) {
      apply_range(plan, response, terms, errors);
    }
  }
  if (has_no_body(plan.facts.status)) {
    plan.facts.framing = Framing::none;
    plan.body.kind = BodyKind::none;
  } else if (plan.facts.framing == Framing::chunked && terms.version < 11) {
    plan.facts.framing = Framing::close;
    plan.close = true;
  }
  if (plan.close) {
    plan.facts.connection = "close";
  } else if (terms.version < 11) {
    plan.facts.connection = "keep-alive";
  }
  if (terms.is_head) plan.body.kind = BodyKind::none;
  return plan;
}

}  // namespace nixbuild::http
