#include "common/protocol/schema.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/protocol/json.hpp"
#include "common/protocol/routes.hpp"
#include "common/protocol/type_list.hpp"

using namespace nixbuild::protocol;
using Json = nlohmann::ordered_json;

TEST_CASE("a schema has the fields of its type's JSON, in their order") {
  const Json all = Json::parse(schemas());
  const auto check = [&](std::string_view name, const std::string& example) {
    CAPTURE(name);
    const Json& schema = all.at(std::string(name));
    std::vector<std::string> expected;
    const Json parsed = Json::parse(example);
    for (const auto& [key, value] : parsed.items())
      expected.push_back(key);
    const auto required = schema.at("required").get<std::vector<std::string>>();
    std::vector<std::string> described;
    for (const auto& [key, value] : schema.at("properties").items()) {
      // Fields that JSON omits while they have no value are not required.
      if (std::find(required.begin(), required.end(), key) != required.end()) {
        described.push_back(key);
      }
      CHECK(value.at("description").get<std::string>() != "");
    }
    CHECK(described == expected);
    CHECK(required == expected);
  };
#define CHECK_TYPE(Type) check(type_name<Type>(), to_json(Type{}));
  NIXBUILD_PROTOCOL_TYPES(CHECK_TYPE)
#undef CHECK_TYPE
}

TEST_CASE("a field that was added is left out while it has no value") {
  TriggerReply reply;
  CHECK(to_json(reply).find("queued_behind") == std::string::npos);
  reply.queued_behind = 11;
  CHECK(from_json<TriggerReply>(to_json(reply)).queued_behind == 11);
  const Json schema = Json::parse(schemas())["TriggerReply"];
  CHECK(schema["properties"]["queued_behind"]["type"] == "integer");
}

TEST_CASE("kinds of fields") {
  const Json all = Json::parse(schemas());
  const Json& status = all["BuildStatus"]["properties"];
  CHECK(status["is_running"]["type"] == "boolean");
  CHECK(status["last_start"]["type"] == Json::array({"string", "null"}));
  CHECK(status["last_start"]["format"] == "date-time");
  CHECK(status["last_status"]["enum"] == Json::array({"success", "failed", nullptr}));
  CHECK(status["phase"]["enum"].size() == 8);
  CHECK(all["Build"]["properties"]["state"]["enum"] ==
        Json::array({"queued", "running", "success", "failed", "cancelled"}));
  CHECK(status["build_id"]["type"] == Json::array({"integer", "null"}));
  CHECK(status["progress"]["$ref"] == "#/components/schemas/Progress");
  CHECK(status["outputs"]["items"]["type"] == "string");
  CHECK(all["Progress"]["properties"]["built"]["minimum"] == 0);
  CHECK(all["Info"]["properties"]["api_port"]["maximum"] == 65535);
}

TEST_CASE("the document has every route, and every reference in it leads somewhere") {
  const Json document = Json::parse(openapi_document("1.2.3"));
  CHECK(document["openapi"] == "3.1.0");
  CHECK(document["info"]["version"] == "1.2.3");
  for (const Route& route : routes()) {
    CAPTURE(route.path);
    const Json& path = document.at("paths").at(std::string(route.path));
    const Json& operation = path.at(route.method == Method::get ? "get" : "post");
    CHECK(operation.at("operationId") == route.id);
    CHECK(operation.at("responses").contains("200"));
  }
  const Json flat = document.flatten();
  int references = 0;
  for (const auto& [key, value] : flat.items()) {
    if (!key.ends_with("/$ref")) continue;
    ++references;
    const auto target = value.get<std::string>();
    REQUIRE(target.starts_with("#"));
    CHECK(document.contains(Json::json_pointer(target.substr(1))));
  }
  CHECK(references > 30);
}
