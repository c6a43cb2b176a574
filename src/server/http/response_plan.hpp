// Decides what is sent of a handler's response, and how: the status, the part of the body selected
// by the request's conditions and range, and the framing. Does no I/O.
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
  std::string_view memory;   // the bytes, for BodyKind::memory
  std::uint64_t offset = 0;  // in the whole body
  std::uint64_t length = 0;  // UINT64_MAX if unknown
};

// The properties of the request that affect its response.
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
  HeadFacts facts;  // except the date
  BodyPart body;
  bool close = false;
};

// Replaces `response` with an error made by `errors` if its range cannot be sent.
ResponsePlan plan_response(Response& response, const ResponseTerms& terms, const Router& errors);

// The router's response for an error of the server itself; plain text if the router throws.
Response error_response(const Router& router, unsigned status, std::string_view reason);

}  // namespace nixbuild::http
