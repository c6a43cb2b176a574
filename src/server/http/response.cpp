#include "server/http/response.hpp"

namespace nixbuild::http {

Response text_response(unsigned status, std::string text) {
  Response response;
  response.status = status;
  response.body = std::move(text);
  return response;
}

Response json_response(unsigned status, std::string json) {
  Response response;
  response.status = status;
  response.content_type = "application/json";
  response.body = std::move(json);
  return response;
}

}  // namespace nixbuild::http
