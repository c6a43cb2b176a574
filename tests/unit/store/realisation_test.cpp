#include "server/store/realisation.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "server/store/store_database.hpp"
#include "test_support.hpp"

using namespace nixbuild;
using namespace nixbuild::store;
using namespace nixbuild::store::test;

namespace {

const std::string hash_a = "sha256:" + std::string(64, 'a');
const std::string hash_b = "sha256:" + std::string(64, 'b');

// As Nix writes it to a file:// binary cache.
std::string as_nix_writes(const Realisation& realisation) {
  std::string json = "{\"dependentRealisations\":{";
  for (const auto& [id, path] : realisation.dependent_realisations) {
    if (json.back() != '{') json += ',';
    json += "\"" + id + "\":\"" + path.base_name() + "\"";
  }
  return json + "},\"id\":\"" + realisation.id + "\",\"outPath\":\"" +
         realisation.output.base_name() + "\",\"signatures\":[]}";
}

}  // namespace

TEST_CASE("tables of realisations may be absent, and may come later") {
  const TemporaryDirectory directory;
  WrittenDatabase written(directory.path());
  const auto id = written.add(hash_part_of(1), '1', "out");
  StoreDatabase database(std::make_shared<StoreAccess>(written.layout()));
  const auto derivation = *nix::StorePath::parse(hash_part_of(9) + "-x.drv");
  CHECK_FALSE(database.query_realisation(hash_a + "!out"));
  CHECK_FALSE(database.query_build_trace(derivation, "out"));

  written.execute(
      "create table Realisations (id integer primary key autoincrement not null, drvPath text not "
      "null, outputName text not null, outputPath integer not null, signatures text);"
      "create table RealisationsRefs (referrer integer not null, realisationReference integer);"
      "create table BuildTraceV3 (id integer primary key autoincrement not null, drvPath text not "
      "null, outputName text not null, outputPath text not null, signatures text);");
  written.execute("insert into Realisations values (1, '" + hash_a + "', 'out', " +
                  std::to_string(id) + ", 'k:AA l:BB'), (2, '" + hash_b + "', 'lib', " +
                  std::to_string(id) + ", null); insert into RealisationsRefs values (2, 1)");
  written.execute("insert into BuildTraceV3 values (1, '" + derivation.base_name() +
                  "', 'out', '/nix/store/" + hash_part_of(1) + "-out', 'k:AA')");

  const auto a = database.query_realisation(hash_a + "!out");
  REQUIRE(a);
  CHECK(a->id == hash_a + "!out");
  CHECK(a->output == *nix::StorePath::parse(hash_part_of(1) + "-out"));
  CHECK(a->signatures == std::vector<std::string>{"k:AA", "l:BB"});
  CHECK(a->dependent_realisations.empty());
  const auto b = database.query_realisation(hash_b + "!lib");
  REQUIRE(b);
  CHECK(b->signatures.empty());
  CHECK(b->dependent_realisations == std::map<std::string, nix::StorePath>{{a->id, a->output}});
  for (const std::string& absent : {hash_a + "!lib", hash_a, std::string("!"), std::string()}) {
    CHECK_FALSE(database.query_realisation(absent));
  }

  const auto trace = database.query_build_trace(derivation, "out");
  REQUIRE(trace);
  CHECK(trace->output == a->output);
  CHECK(trace->signatures == std::vector<std::string>{"k:AA"});
  CHECK_FALSE(database.query_build_trace(derivation, "lib"));
}

TEST_CASE("realisations that real Nix made are told as it tells them to a binary cache") {
  if (!have_program("nix")) return;
  const TemporaryDirectory directory;
  const std::string at = directory.path().string();
  write_text(directory.path() / "ca.nix", R"(
let ca = { builder = "/bin/sh"; system = builtins.currentSystem; __contentAddressed = true;
           outputHashMode = "recursive"; outputHashAlgo = "sha256"; }; in rec {
  dep = derivation (ca // { name = "dep"; args = [ "-c" "echo dep > $out" ]; });
  top = derivation (ca // { name = "top"; outputs = [ "out" "lib" ];
                            args = [ "-c" "echo ${dep} > $out; echo lib > $lib" ]; });
})");
  const std::string environment =
      "export NIX_REMOTE=local HOME=" + at + "/home NIX_STORE_DIR=" + at +
      "/store NIX_STATE_DIR=" + at + "/var NIX_LOG_DIR=" + at + "/log NIX_CONF_DIR=" + at +
      "/etc NIX_CONFIG='build-users-group =\n" +
      "sandbox = false\nsubstitute = false\nexperimental-features = nix-command ca-derivations'; ";
  run(environment + "nix build --no-link --file " + at + "/ca.nix top 2>&1");
  run(environment + "nix copy --to file://" + at + "/cache --file " + at + "/ca.nix top 2>&1");

  StoreLayout layout;
  layout.store_dir = nix::StoreDir(at + "/store");
  layout.real_store_dir = directory.path() / "store";
  layout.nix_state_dir = directory.path() / "var";
  StoreDatabase database(std::make_shared<StoreAccess>(layout));
  int compared = 0;
  for (const auto& entry : fs::directory_iterator(directory.path() / "cache" / "realisations")) {
    const auto found =
        patiently([&] { return database.query_realisation(entry.path().stem().string()); });
    REQUIRE(found);
    // With its dependent realisations, which Nix 2.34 no longer records.
    CHECK(as_nix_writes(*found) == run("cat '" + entry.path().string() + "'"));
    ++compared;
  }
  CHECK(compared >= 2);
}
