#include "server/cache/realisations.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "../support/temporary_directory.hpp"
#include "common/base/files.hpp"

using namespace nixbuild;
using namespace nixbuild::cache;
using Json = nlohmann::json;

namespace {

const auto output = *nix::StorePath::parse("a3igw7z00yr0l7xscczsw50m6clmhi8k-out");
const auto other = *nix::StorePath::parse("b3igw7z00yr0l7xscczsw50m6clmhi8k-other");
const auto derivation = *nix::StorePath::parse("c3igw7z00yr0l7xscczsw50m6clmhi8k-x.drv");

bool some_signature_verifies(const SigningKeys& keys, const Json& signatures,
                             const std::string& message) {
  for (const auto& signature : signatures) {
    if (keys.public_keys().at(0).verify(message, signature.get<std::string>())) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("a realisation is signed as Nix checks it: sorted, without white space or signatures") {
  const test::TemporaryDirectory directory;
  const SigningKeys keys({}, directory.path());
  const store::Realisation realisation{"sha256:1f3a!out", output, {"old-1:AAAA"}, {}};
  const Json json = Json::parse(render_realisation(realisation, keys));
  CHECK(json["id"] == "sha256:1f3a!out");
  CHECK(json["outPath"] == output.base_name());
  CHECK(json["dependentRealisations"] == Json::object());
  CHECK(json["signatures"].size() == 2);
  CHECK(json["signatures"][0] == "old-1:AAAA");
  CHECK(
      some_signature_verifies(keys, json["signatures"],
                              R"({"dependentRealisations":{},"id":"sha256:1f3a!out","outPath":")" +
                                  output.base_name() + "\"}"));
}

TEST_CASE("a realisation with dependents is signed for clients that know them and that do not") {
  const test::TemporaryDirectory directory;
  const SigningKeys keys({}, directory.path());
  const store::Realisation realisation{"sha256:1f3a!out", output, {}, {{"sha256:2b!out", other}}};
  const Json json = Json::parse(render_realisation(realisation, keys));
  CHECK(json["dependentRealisations"]["sha256:2b!out"] == other.base_name());
  const std::string rest = R"(,"id":"sha256:1f3a!out","outPath":")" + output.base_name() + "\"}";
  CHECK(some_signature_verifies(keys, json["signatures"], R"({"dependentRealisations":{})" + rest));
  CHECK(some_signature_verifies(
      keys, json["signatures"],
      R"({"dependentRealisations":{"sha256:2b!out":")" + other.base_name() + "\"}" + rest));
}

TEST_CASE("a build trace's signature covers derivation, output name and output") {
  const test::TemporaryDirectory directory;
  const SigningKeys keys({}, directory.path());
  const Json json = Json::parse(render_build_trace(derivation, "out", {output, {}}, keys));
  CHECK(json["outPath"] == output.base_name());
  CHECK(some_signature_verifies(keys, json["signatures"],
                                R"({"key":{"drvPath":")" + derivation.base_name() +
                                    R"(","outputName":"out"},"value":{"outPath":")" +
                                    output.base_name() + "\"}}"));
}

TEST_CASE("only what a key has signed of a realisation is passed on") {
  const test::TemporaryDirectory directory;
  const test::TemporaryDirectory another;
  const SigningKeys keys({}, directory.path());
  const VerifyingKeys trusted({keys.public_keys().at(0).to_string()});
  const SigningKeys foreign({}, another.path());  // of the same name
  const auto signed_by = [](const SigningKeys& signer, const store::Realisation& realisation) {
    store::Realisation result = realisation;
    result.signatures = Json::parse(render_realisation(realisation, signer))["signatures"];
    return result;
  };
  const store::Realisation plain{"sha256:1f3a!out", output, {}, {}};
  const store::Realisation dependent{"sha256:1f3a!out", output, {}, {{"sha256:2b!out", other}}};
  CHECK_FALSE(signed_part(plain, trusted));
  CHECK_FALSE(signed_part(signed_by(foreign, plain), trusted));
  CHECK(signed_part(signed_by(keys, plain), trusted) == signed_by(keys, plain));
  CHECK(signed_part(signed_by(keys, dependent), trusted) == signed_by(keys, dependent));
  // The dependencies were added later, and not signed.
  store::Realisation changed = signed_by(keys, plain);
  changed.dependent_realisations = dependent.dependent_realisations;
  CHECK(signed_part(changed, trusted) == signed_by(keys, plain));
  changed.output = other;
  CHECK_FALSE(signed_part(changed, trusted));
}

TEST_CASE("only build traces that a key has signed are passed on") {
  const test::TemporaryDirectory directory;
  const SigningKeys keys({}, directory.path());
  const VerifyingKeys trusted({keys.public_keys().at(0).to_string()});
  store::BuildTrace trace{output, {}};
  CHECK_FALSE(is_signed(derivation, "out", trace, trusted));
  trace.signatures = Json::parse(render_build_trace(derivation, "out", trace, keys))["signatures"];
  CHECK(is_signed(derivation, "out", trace, trusted));
  CHECK_FALSE(is_signed(derivation, "dev", trace, trusted));
  trace.output = other;
  CHECK_FALSE(is_signed(derivation, "out", trace, trusted));
}
