// What of a handler's response is sent, and how: the status, the part of the body that the
// request's conditions and range select, and the framing. Without any I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "server/http/request.hpp"
#include "server/http/response.hpp"
#include "server/http/response_head.hpp"
#include "server/http/router.hpp"

namespace nixbuild::http {

enum class BodyKind : std::uint8_t { none, memory, file, stream };

// The part of a response's body that is sent.
struct BodyPart {
  BodyKind kind = BodyKind::none;
  std::string_view memory;   // of BodyKind::memory: the bytes
  std::uint64_t offset = 0;  // in the whole body
  std::uint64_t length = 0;  // UINT64_MAX if it is not known
};

// What the request says about its response.
struct ResponseTerms {
  Method method = Method::get;
  bool is_head = false;
  int version = 11;
  bool close = false;  // no further request on this connection
  std::string_view if_none_match;
  std::string_view if_range;
  const std::optional<RangeRequest>* range = nullptr;
  bool range_malformed = false;
  std::string_view target;  // for the log
};

struct ResponsePlan {
  HeadFacts facts;  // but for the date
  BodyPart body;
  bool close = false;
};

// Replaces `response` by an error, which `errors` makes, if its range cannot be sent.
ResponsePlan plan_response(Response& response, const ResponseTerms& terms, const Router& errors);

// What the router makes of an error that the server itself answers; plain text if that throws.
Response error_response(const Router& router, unsigned status, std::string_view reason);

}  // namespace nixbuild::http
