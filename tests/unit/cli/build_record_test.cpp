#include "cli/machine/build_record.hpp"

#include <doctest/doctest.h>

#include <string>

#include "common/base/error.hpp"
#include "common/base/time.hpp"
#include "common/protocol/record.hpp"

using namespace nixbuild;
using namespace nixbuild::cli;

namespace {

std::string record_text() {
  protocol::BuildRecord record;
  record.server = "build-server";
  record.history = "0123456789abcdef0123456789abcdef";
  record.build = 12;
  record.repository = "tools";
  record.url = "https://example.org/tools";
  record.state = protocol::BuildState::success;
  record.commit = "1234567890123456789012345678901234567890";
  record.finish = *parse_time("2026-01-15T14:32:13Z");
  return protocol::render_record(record);
}

std::string refusal(const protocol::SignedRecord& record, const RecordKeys& keys,
                    std::int64_t build = 12) {
  try {
    verify_record(record, keys, build);
  } catch (const net::RefusedError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a key counts if it is named here and trusted by Nix") {
  const auto key = nix::SecretKey::generate("build-server-1").public_key().to_string();
  const auto other = nix::SecretKey::generate("cache.nixos.org-1").public_key().to_string();
  const auto same_name = nix::SecretKey::generate("build-server-1").public_key().to_string();
  CHECK(record_keys({key}, {other, key}).keys.size() == 1);
  CHECK(record_keys({key}, {"nonsense", other}).keys.empty());
  CHECK(record_keys({key}, {"nonsense", other}).problem.find("trusted-public-keys") !=
        std::string::npos);
  CHECK(record_keys({key}, {same_name}).keys.empty());
  CHECK(record_keys({}, {other, key}).keys.empty());
  CHECK(record_keys({}, {other, key}).problem.find("record_keys") != std::string::npos);
}

TEST_CASE("a record is verified before it is looked at") {
  const nix::SecretKey secret = nix::SecretKey::generate("build-server-1");
  const nix::SecretKey stranger = nix::SecretKey::generate("build-server-1");
  const RecordKeys keys{{secret.public_key()}, {}};
  const std::string text = record_text();
  const protocol::SignedRecord good{text, {secret.sign(protocol::signed_text(text))}};
  CHECK(verify_record(good, keys, 12).record.repository == "tools");
  CHECK(verify_record(good, keys, 12).signer == secret.public_key());

  CHECK(refusal(good, keys, 13).find("is that of build 12") != std::string::npos);
  CHECK(refusal(good, {{}, "no key here"}).find("no key here") != std::string::npos);
  CHECK(refusal({text, {}}, keys).find("it has no signature") != std::string::npos);
  CHECK(refusal({text, {stranger.sign(protocol::signed_text(text))}}, keys)
            .find("claim to be by build-server-1") != std::string::npos);
  CHECK(refusal({text + " ", good.signatures}, keys).find("not signed") != std::string::npos);
  // Signed, but invalid.
  CHECK(
      refusal({"[]", {secret.sign(protocol::signed_text("[]"))}}, keys).find("not a JSON object") !=
      std::string::npos);
  // A server's message is cleaned before it reaches the terminal.
  const std::string message = refusal({text, {"\x1b[2Jname:x"}}, keys);
  CHECK(message.find('\x1b') == std::string::npos);
}
