#include "server/cache/realisations.hpp"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "server/cache/responses.hpp"

namespace nixbuild::cache {
namespace {

namespace asio = boost::asio;
using Json = nlohmann::json;  // sorts an object's members, like Nix before signing

http::Response no_such_realisation() {
  return not_found("no such realisation\n");
}

http::Response realisation_response(std::string json) {
  http::Response response = http::json_response(200, std::move(json));
  response.cache_control = "public, max-age=300";
  return response;
}

Json without_dependencies(const store::Realisation& realisation) {
  return {{"id", realisation.id},
          {"outPath", realisation.output.base_name()},
          {"dependentRealisations", Json::object()}};
}

Json with_dependencies(const store::Realisation& realisation) {
  Json json = without_dependencies(realisation);
  for (const auto& [id, path] : realisation.dependent_realisations) {
    json["dependentRealisations"][id] = path.base_name();
  }
  return json;
}

Json signed_object(const nix::StorePath& derivation, std::string_view output,
                   const store::BuildTrace& trace) {
  return {{"key", {{"drvPath", derivation.base_name()}, {"outputName", output}}},
          {"value", {{"outPath", trace.output.base_name()}}}};
}

// Whether the cache serves this path.
bool is_served(store::StoreDatabase& database, const nix::StorePath& path) {
  const auto info = database.query_path_info(path.hash_part());
  return info && info->path == path;
}

}  // namespace

std::optional<store::Realisation> signed_part(store::Realisation realisation,
                                              const VerifyingKeys& keys) {
  if (keys.verify(with_dependencies(realisation).dump(), realisation.signatures)) {
    return realisation;
  }
  if (!keys.verify(without_dependencies(realisation).dump(), realisation.signatures)) {
    return std::nullopt;
  }
  realisation.dependent_realisations.clear();
  return realisation;
}

bool is_signed(const nix::StorePath& derivation, std::string_view output,
               const store::BuildTrace& trace, const VerifyingKeys& keys) {
  return keys.verify(signed_object(derivation, output, trace).dump(), trace.signatures);
}

// A signature covers the object without its signatures. Nix 2.34 no longer supports dependent
// realisations and reads them as empty, so it also needs a signature over that form.
std::string render_realisation(const store::Realisation& realisation, const SigningKeys& keys) {
  Json json = without_dependencies(realisation);
  auto signatures = keys.add_to(realisation.signatures, json.dump());
  if (!realisation.dependent_realisations.empty()) {
    json = with_dependencies(realisation);
    signatures = keys.add_to(std::move(signatures), json.dump());
  }
  json["signatures"] = signatures;
  return json.dump();
}

std::string render_build_trace(const nix::StorePath& derivation, std::string_view output,
                               const store::BuildTrace& trace, const SigningKeys& keys) {
  const Json object = signed_object(derivation, output, trace);
  Json value = object["value"];
  value["signatures"] = keys.add_to(trace.signatures, object.dump());
  return value.dump();
}

http::Reply Realisations::handle_realisation(std::string_view id) {
  return answer_realisation(std::string(id));
}

asio::awaitable<http::Response> Realisations::answer_realisation(std::string id) {
  std::optional<store::Realisation> found;
  try {
    const auto query = [this, &id](store::StoreDatabase& database) {
      auto result = database.query_realisation(id);
      if (!result || only_signed_by_.empty()) return result;
      result = signed_part(*std::move(result), only_signed_by_);
      if (result && !is_served(database, result->output)) result.reset();
      return result;
    };
    asio::awaitable<std::optional<store::Realisation>> asking =
        store_.patiently<std::optional<store::Realisation>>(query);
    found = co_await std::move(asking);
  } catch (const store::StoreUnavailable&) {
    co_return store_unavailable();
  }
  if (!found) co_return no_such_realisation();
  co_return realisation_response(render_realisation(*found, keys_));
}

http::Reply Realisations::handle_build_trace(std::string_view derivation, std::string_view output) {
  auto path = nix::StorePath::parse(derivation);
  if (!path || !path->is_derivation()) return no_such_realisation();
  return answer_build_trace(std::move(*path), std::string(output));
}

asio::awaitable<http::Response> Realisations::answer_build_trace(nix::StorePath derivation,
                                                                 std::string output) {
  std::optional<store::BuildTrace> found;
  try {
    const auto query = [&](store::StoreDatabase& database) {
      auto result = database.query_build_trace(derivation, output);
      if (!result || only_signed_by_.empty()) return result;
      if (!is_signed(derivation, output, *result, only_signed_by_) ||
          !is_served(database, result->output)) {
        result.reset();
      }
      return result;
    };
    asio::awaitable<std::optional<store::BuildTrace>> asking =
        store_.patiently<std::optional<store::BuildTrace>>(query);
    found = co_await std::move(asking);
  } catch (const store::StoreUnavailable&) {
    co_return store_unavailable();
  }
  if (!found) co_return no_such_realisation();
  co_return realisation_response(render_build_trace(derivation, output, *found, keys_));
}

}  // namespace nixbuild::cache
