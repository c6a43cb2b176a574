// Describes the API for machines: its types as JSON Schema, its routes as OpenAPI 3.1.
#pragma once

#include <string>
#include <string_view>

namespace nixbuild::protocol {

// A JSON object with a schema (JSON Schema 2020-12) for each type of types.hpp, by name. They refer
// to each other as "#/components/schemas/NAME".
std::string schemas();

// The document for GET /openapi.json, generated from the route table and the schemas. `version` is
// the program's.
std::string openapi_document(std::string_view version);

}  // namespace nixbuild::protocol
