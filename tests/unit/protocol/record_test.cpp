#include "common/protocol/record.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string>

#include "common/base/error.hpp"
#include "common/base/time.hpp"
#include "common/protocol/json.hpp"

using namespace nixbuild;
using namespace nixbuild::protocol;

namespace {

// Also in docs/protocol.md: a change here changes the format.
constexpr std::string_view example =
    R"({"format":1,"server":"build-server","history":"0123456789abcdef0123456789abcdef","build":12,)"
    R"("repository":"nix-terminal","url":"https://example.org/nix-terminal","branch":"dev",)"
    R"("state":"success","commit":"1234567890123456789012345678901234567890",)"
    R"("lock_sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",)"
    R"("finish":"2026-01-15T14:32:13Z","targets":[{"name":"packages.x86_64-linux.hello",)"
    R"("derivation":"/nix/store/00000000000000000000000000000000-hello.drv","outputs":[{"name":"out",)"
    R"("path":"/nix/store/11111111111111111111111111111111-hello"}]}]})";

BuildRecord example_record() {
  BuildRecord record;
  record.server = "build-server";
  record.history = "0123456789abcdef0123456789abcdef";
  record.build = 12;
  record.repository = "nix-terminal";
  record.url = "https://example.org/nix-terminal";
  record.branch = "dev";
  record.state = BuildState::success;
  record.commit = "1234567890123456789012345678901234567890";
  record.lock_sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  record.finish = *parse_time("2026-01-15T14:32:13Z");
  record.targets = {{"packages.x86_64-linux.hello",
                     "/nix/store/00000000000000000000000000000000-hello.drv",
                     {{"out", "/nix/store/11111111111111111111111111111111-hello"}}}};
  return record;
}

std::string replaced(std::string_view from, std::string_view to) {
  std::string text(example);
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

std::string record_failure(std::string_view bytes) {
  try {
    parse_record(bytes);
  } catch (const FormatError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a record has these bytes") {
  CHECK(render_record(example_record()) == example);
}

TEST_CASE("what is rendered is parsed to the same record") {
  CHECK(render_record(parse_record(example)) == example);
  BuildRecord record = example_record();
  record.branch.reset();
  record.lock_sha256.reset();
  record.targets.clear();
  record.state = BuildState::failed;
  const BuildRecord parsed = parse_record(render_record(record));
  CHECK_FALSE(parsed.branch);
  CHECK_FALSE(parsed.lock_sha256);
  CHECK(parsed.state == BuildState::failed);
}

TEST_CASE("names outside ASCII are escaped, and come back") {
  BuildRecord record = example_record();
  record.targets.front().name = "packages.größe.\xff";
  const std::string bytes = render_record(record);
  CHECK(bytes.find("gr\\u00f6\\u00dfe.\\ufffd") != std::string::npos);
  CHECK(parse_record(bytes).targets.front().name == "packages.größe.\xef\xbf\xbd");
}

TEST_CASE("a record of another form is refused") {
  CHECK(record_failure("") != "");
  CHECK(record_failure("[]") != "");
  CHECK(record_failure(std::string(example) + "\n") != "");
  CHECK(record_failure(" " + std::string(example)) != "");
  CHECK(record_failure(replaced("{\"format\":1", "{\"format\":1,\"format\":1")) != "");
  CHECK(record_failure(replaced("\"dev\"", "\"d\\u0065v\"")) != "");
  CHECK(record_failure(replaced("\"build\":12", "\"build\":12.0")) != "");
  CHECK(record_failure(replaced("\"build\":12", "\"build\":0")) != "");
  CHECK(record_failure(replaced("\"build\":12", "\"build\":\"12\"")) != "");
  CHECK(record_failure(replaced("\"success\"", "\"running\"")) != "");
  CHECK(record_failure(replaced("\"success\"", "\"great\"")) != "");
  CHECK(record_failure(replaced("\"1234567890", "\"--567890")) != "");
  CHECK(record_failure(replaced("e3b0c442", "E3B0C442")) != "");
  CHECK(record_failure(replaced("\"0123456789abcdef", "\"")) != "");
  CHECK(record_failure(replaced("-hello.drv", "-hello")) != "");
  CHECK(record_failure(replaced("/nix/store/1111", "/nix/store/../1111")) != "");
  CHECK(record_failure(replaced("/nix/store/1111", "/nix//1111")) != "");
  CHECK(record_failure(replaced("/nix/store/11111111111111111111111111111111-hello", "--option")) !=
        "");
  CHECK(record_failure(replaced("\"server\":\"build-server\",", "")) != "");
  CHECK(record_failure(std::string(100'000, '[')) != "");
  CHECK(record_failure(replaced("\"format\":1", "\"format\":2"))
            .find("unsupported format 2 (expected 1)") != std::string::npos);
}

TEST_CASE("a field that a later version adds is ignored") {
  std::string text(example);
  text.insert(text.size() - 1, ",\"later\":[1]");
  CHECK(parse_record(text).build == 12);
}

TEST_CASE("a signature is over the prefix and the exact bytes") {
  const nix::SecretKey secret = nix::SecretKey::generate("build-server-1");
  const nix::SecretKey other = nix::SecretKey::generate("build-server-1");
  const std::array keys = {nix::SecretKey::generate("another-1").public_key(), secret.public_key()};
  CHECK(signed_text("x") == "nixbuild-record-1\nx");
  SignedRecord record{std::string(example), {secret.sign(signed_text(example))}};
  const auto signer = record_signer(record, keys);
  REQUIRE(signer);
  CHECK(*signer == secret.public_key());

  record.signatures = {other.sign(signed_text(example))};
  CHECK_FALSE(record_signer(record, keys));
  // Without the prefix it signs something else, such as a narinfo's fingerprint.
  record.signatures = {secret.sign(example)};
  CHECK_FALSE(record_signer(record, keys));
  record.signatures = {"", "build-server-1:", "nonsense", other.sign(signed_text(example)),
                       secret.sign(signed_text(example))};
  CHECK(record_signer(record, keys));
  record.record += ' ';
  CHECK_FALSE(record_signer(record, keys));
  record.record = example;
  CHECK_FALSE(record_signer(record, {}));
}
