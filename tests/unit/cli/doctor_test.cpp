#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "../support/temporary_directory.hpp"
#include "cli/doctor/client_checks.hpp"
#include "cli/doctor/file_access.hpp"
#include "cli/doctor/proxy_checks.hpp"
#include "cli/doctor/report.hpp"
#include "cli/doctor/server_checks.hpp"
#include "common/keys/key_file.hpp"

using namespace nixbuild;
using namespace nixbuild::cli;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

const std::vector<Check> some = {{"a", CheckState::ok, "good", ""},
                                 {"b", CheckState::warning, "so so", "try this\nthen that"},
                                 {"c", CheckState::failed, "bad", "do it"}};
const std::string cache_url = "http://build-server:5000";

nix::PublicKey new_key(const char* name) {
  return nix::SecretKey::generate(name).public_key();
}

LocalNix nix_with(const std::string& user_settings, const std::string& system_settings,
                  bool is_trusted) {
  LocalNix nix;
  nix.version_text = "nix (Nix) 2.26.3";
  nix.version = {2, 26};
  nix.settings = parse_nix_settings(user_settings);
  nix.system_settings = parse_nix_settings(system_settings);
  nix.is_trusted = is_trusted;
  return nix;
}

}  // namespace

TEST_CASE("the report as lines") {
  CHECK(report_lines(some, false) ==
        "✓ a: good\n! b: so so\n    try this\n    then that\n✗ c: bad\n    do it\n");
  CHECK(report_lines({some[0]}, true) == "\x1b[32m✓\x1b[0m a: good\n");
}

TEST_CASE("the report as JSON") {
  CHECK(report_json({some[2]}) == R"({
  "ok": false,
  "checks": [
    {
      "name": "c",
      "state": "failed",
      "message": "bad",
      "remedy": "do it"
    }
  ]
})");
  CHECK(report_json({some[0]}).find(R"("remedy": null)") != std::string::npos);
  CHECK(report_json({some[0], some[1]}).find(R"("ok": true)") != std::string::npos);
  CHECK_NOTHROW(report_json({{"x", CheckState::ok, "\xff", ""}}));
}

TEST_CASE("the report in a few words") {
  CHECK(summary({some[0]}) == "✓ All is well");
  CHECK(summary({some[0], some[1]}) == "! 1 warning");
  CHECK(summary(some) == "✗ 1 check failed, 1 warning");
  CHECK(summary({some[2], some[2]}) == "✗ 2 checks failed");
  CHECK(has_failed(some));
  CHECK_FALSE(has_failed({some[0], some[1]}));
}

TEST_CASE("clocks") {
  CHECK(check_clock(0s).state == CheckState::ok);
  CHECK(check_clock(-5s).state == CheckState::ok);
  CHECK(check_clock(60s).state == CheckState::warning);
  CHECK(check_clock(60s).message == "the server's clock is 1m 00s ahead");
  CHECK(check_clock(-3600s).state == CheckState::failed);
  CHECK(check_clock(-3600s).message == "the server's clock is 1h 00m behind");
  CHECK(check_clock(std::nullopt).state == CheckState::warning);
}

TEST_CASE("which substituters count is the daemon's to say") {
  const std::string mine = "substituters = https://a http://build-server:5000/\n";
  const PublicKeys keys = {new_key("k-1")};
  const auto state = [&](const std::string& user, const std::string& system, bool trusted) {
    return check_substituter(nix_with(user, system, trusted), cache_url, keys).state;
  };
  CHECK(state(mine, "substituters = https://a\n", true) == CheckState::ok);
  CHECK(state(mine, "substituters = https://a\n", false) == CheckState::failed);
  CHECK(state(mine, "trusted-substituters = http://build-server:5000\n", false) == CheckState::ok);
  CHECK(state("", mine, false) == CheckState::ok);
  CHECK(state("", "", true) == CheckState::failed);
  const Check check = check_substituter(nix_with("", "", false), cache_url, keys);
  CHECK(check.remedy.find("extra-substituters = http://build-server:5000\n"
                          "extra-trusted-public-keys = k-1:") != std::string::npos);
}

TEST_CASE("the key that is trusted is the one that is served, and the one of before") {
  const nix::PublicKey key = new_key("k-1");
  const nix::PublicKey changed = new_key("k-1");
  const LocalNix nix = nix_with("trusted-public-keys = x-1:nonsense " + key.to_string(), "", true);
  CHECK(check_public_key(nix, {key}, {}).state == CheckState::ok);
  CHECK(check_public_key(nix, {changed, key}, {}).state == CheckState::ok);
  CHECK(check_public_key(nix, {}, {}).state == CheckState::warning);

  const Check other = check_public_key(nix, {changed}, {});
  CHECK(other.state == CheckState::failed);
  CHECK(other.message.find(key.fingerprint()) != std::string::npos);
  CHECK(other.message.find(changed.fingerprint()) != std::string::npos);

  const Check before = check_public_key(nix, {key}, {changed});
  CHECK(before.message.starts_with("THE SERVER'S KEY HAS CHANGED"));
  CHECK(before.state == CheckState::failed);

  const Check unknown = check_public_key(nix_with("", "", true), {key}, {key});
  CHECK(unknown.state == CheckState::failed);
  CHECK(unknown.remedy.ends_with("extra-trusted-public-keys = " + key.to_string()));
}

TEST_CASE("a signature counts by a key that Nix trusts") {
  const nix::SecretKey secret = nix::SecretKey::generate("k-1");
  CacheInfo info;
  info.store_dir = "/nix/store";
  nix::NarInfo narinfo{
      {*nix::StorePath::parse("00000000000000000000000000000000-x"), {}, 120, {}, {}, {}, {}},
      {},
      {},
      {},
      {}};
  narinfo.info.signatures = {secret.sign(nix::fingerprint(nix::StoreDir(), narinfo.info))};
  CacheSample sample{narinfo, std::nullopt};
  const LocalNix trusting =
      nix_with("trusted-public-keys = " + secret.public_key().to_string(), "", true);
  CHECK(check_signature(sample, info, trusting, Role::client).state == CheckState::ok);
  // The daemon accepts no keys from an untrusted user.
  const LocalNix ignored =
      nix_with("trusted-public-keys = " + secret.public_key().to_string(), "", false);
  CHECK(check_signature(sample, info, ignored, Role::client).state == CheckState::failed);
  sample.signer = secret.public_key();
  CHECK(check_signature(sample, info, ignored, Role::client)
            .message.find("'k-1', which Nix does not trust") != std::string::npos);
  CHECK(check_signature(std::nullopt, info, trusting, Role::client).state == CheckState::warning);

  // A server that is no client does not trust its own key, but its paths are signed.
  const LocalNix server = nix_with("", "", false);
  CHECK(check_signature(sample, info, server, Role::server).state == CheckState::ok);
  sample.signer.reset();
  CHECK(check_signature(sample, info, server, Role::server).state == CheckState::failed);
  CHECK(check_signature(std::nullopt, info, server, Role::server).state == CheckState::ok);
}

TEST_CASE("whoever names the cache or trusts its key is a client, also if that is of no use") {
  const nix::PublicKey key = new_key("k-1");
  const std::string mine = "substituters = http://build-server:5000/\n";
  CHECK(is_client(nix_with(mine, "", false), cache_url, {}));
  CHECK(is_client(nix_with("", mine, false), cache_url, {}));
  CHECK(
      is_client(nix_with("trusted-public-keys = " + key.to_string(), "", true), cache_url, {key}));
  CHECK_FALSE(
      is_client(nix_with("substituters = https://cache.nixos.org", "", true), cache_url, {key}));
}

TEST_CASE("fallback works since Nix 2.9") {
  LocalNix nix = nix_with("fallback = true", "", true);
  CHECK(check_fallback(nix).state == CheckState::ok);
  nix.version = {2, 8};
  CHECK(check_fallback(nix).state == CheckState::warning);
  nix = nix_with("fallback = false", "", true);
  CHECK(check_fallback(nix).state == CheckState::warning);
}

TEST_CASE("absent paths are asked for again") {
  CHECK(check_absent_paths(nix_with("narinfo-cache-negative-ttl = 0", "", true)).state ==
        CheckState::ok);
  CHECK(check_absent_paths(nix_with("narinfo-cache-negative-ttl = 3600", "", true)).state ==
        CheckState::warning);
  CHECK(check_absent_paths(nix_with("", "", true)).state == CheckState::warning);
}

TEST_CASE("a proxy in the cache's place") {
  const config::ProxyOptions options;
  CHECK(is_proxy("http://127.0.0.1:5001", options));
  CHECK(is_proxy("http://localhost:5001/", options));
  CHECK_FALSE(is_proxy("http://127.0.0.1:5000", options));
  CHECK_FALSE(is_proxy("http://build-server:5001", options));
  CHECK_FALSE(is_proxy("s3://bucket", options));
  CHECK(proxy_address(options) == "http://127.0.0.1:5001");
  config::ProxyOptions others;
  others.listen = {"tailscale:5001", "[::]:5002"};
  CHECK(proxy_address(others) == "http://[::1]:5002");
  others.listen = {"unix:/run/p.sock"};
  CHECK(proxy_address(others) == "unix:/run/p.sock");
  others.listen = {"tailscale:5001"};
  CHECK_THROWS_AS(proxy_address(others), UsageError);

  ProxyFindings proxy{"http://127.0.0.1:5001", {}, {}};
  proxy.status = parse_proxy_status(R"({"version": "1", "downloads": [
      {"path": "p", "upstream": "u", "bytes": 5, "size": null}], "upstreams": [
      {"url": "http://build-server:5000", "state": "up", "since": "2026-01-02T03:04:05Z",
       "last_error": "", "narinfos_found": 7, "nar_bytes": 8}],
      "narinfos": {"from_memory": 1, "from_disk": 9, "from_upstreams": 2, "absent": 3},
      "nars": {"sent": 4, "from_disk": 1, "continued": 5},
      "disk": {"limit": 100, "bytes": 10, "nars": 2, "narinfos": 3}})");
  CHECK(proxy.status.upstreams.front().narinfos_found == 7);
  CHECK(proxy.status.downloads.front().bytes == 5);
  CHECK_FALSE(proxy.status.downloads.front().size);
  CHECK(proxy.status.absent == 3);
  CHECK(proxy.status.disk_limit == 100);
  CHECK(asks_cache(proxy, cache_url));
  CHECK_FALSE(asks_cache(proxy, "http://other:5000"));
  CHECK(check_proxy(proxy, cache_url).state == CheckState::ok);
  CHECK(check_proxy(proxy, "http://other:5000").state == CheckState::warning);
  proxy.status.upstreams.front().state = "away";
  proxy.status.upstreams.front().last_error = "Connection refused";
  CHECK(check_proxy(proxy, cache_url).state == CheckState::warning);
  CHECK(check_proxy(proxy, cache_url).message.find("refused") != std::string::npos);
  proxy.problem = "nobody listens";
  CHECK(check_proxy(proxy, cache_url).state == CheckState::failed);
  CHECK_THROWS_AS(parse_proxy_status("<html>"), FormatError);
  CHECK_THROWS_AS(parse_proxy_status("{}"), FormatError);
}

TEST_CASE("disk space") {
  const std::uint64_t gigabyte = std::uint64_t{1} << 30;
  const auto state = [&](std::uint64_t available) {
    return check_disk_space("disk", {"/", available, 100 * gigabyte}).state;
  };
  CHECK(state(50 * gigabyte) == CheckState::ok);
  CHECK(state(5 * gigabyte) == CheckState::warning);
  CHECK(state(gigabyte / 2) == CheckState::failed);
  CHECK(disk_space("/").has_value());
  CHECK_FALSE(disk_space("/no/such/place").has_value());
}

TEST_CASE("units as systemctl tells them") {
  const auto units = parse_unit_states(
      "Result=success\nId=nixbuild-cache.service\nLoadState=loaded\nActiveState=inactive\n\n"
      "Id=nixbuild-cache.socket\nLoadState=loaded\nActiveState=active\nResult=success\n\n"
      "Id=nixbuild-api.service\nLoadState=loaded\nActiveState=failed\nResult=exit-code\n\n"
      "Id=nixbuild-api.socket\nLoadState=loaded\nActiveState=active\nResult=success\n");
  REQUIRE(units.size() == 4);
  CHECK(units[0].name == "nixbuild-cache.service");
  CHECK(units[2].result == "exit-code");
  const Check check = check_units(units);
  CHECK(check.state == CheckState::failed);
  CHECK(check.message == "nixbuild-api.service has failed (exit-code)");
  CHECK(check.remedy == "journalctl -u nixbuild-api.service -n 50");

  const Check waiting = check_units({units[0], units[1]});
  CHECK(waiting.state == CheckState::ok);
  CHECK(waiting.message == "nixbuild-cache.service starts with the first connection");
  CHECK(check_units({units[0]}).remedy ==
        "sudo systemctl enable --now nixbuild-cache.socket nixbuild-cache.service");
  CHECK(check_units({{"nixbuild-api.service", "not-found", "inactive", "success", "dead"}}).state ==
        CheckState::failed);

  const auto restarting = parse_unit_states(
      "Id=nixbuild-api.service\nLoadState=loaded\nActiveState=activating\nSubState=auto-restart\n"
      "Result=exit-code\n");
  CHECK(check_units(restarting).state == CheckState::failed);
  CHECK(check_units(restarting).message ==
        "nixbuild-api.service keeps failing (exit-code) and is restarted");
}

TEST_CASE("access is asked for by owner, group and others, through every directory") {
  const test::TemporaryDirectory directory;
  const fs::path file = directory.path() / "file";
  std::ofstream(file) << "x";
  ::chmod(directory.path().c_str(), 0755);
  const uid_t someone = 54321;
  const gid_t some_group = 54322;
  struct stat status {};
  REQUIRE(::stat(file.c_str(), &status) == 0);
  const UserIds owner{"owner", status.st_uid, {}};
  const UserIds member{"member", someone, {status.st_gid}};
  const UserIds stranger{"stranger", someone, {some_group}};
  ::chmod(file.c_str(), 0640);
  CHECK(has_access(owner, file, may_read | may_write));
  CHECK(has_access(member, file, may_read));
  CHECK_FALSE(has_access(member, file, may_write));
  CHECK_FALSE(has_access(stranger, file, may_read));
  ::chmod(file.c_str(), 0604);
  CHECK(has_access(stranger, file, may_read));
  CHECK_FALSE(has_access(member, file, may_read));  // the group's bits count for its members
  ::chmod(directory.path().c_str(), 0700);
  CHECK_FALSE(has_access(stranger, file, may_read));
  CHECK_FALSE(has_access(owner, directory.path() / "absent", may_read));
}

TEST_CASE("a signing key that others can read is told, and one that the cache does not use") {
  const test::TemporaryDirectory directory;
  const fs::path file = directory.path() / "cache-key";
  const nix::PublicKey key = keys::generate_key_file(file, "k-1").public_key();
  CHECK(check_key_file(file, {key}).state == CheckState::ok);
  CHECK(check_key_file(file, {}).state == CheckState::ok);
  CHECK(check_key_file(file, {new_key("k-1")}).state == CheckState::failed);
  CHECK(check_key_file(file, {key}).message.find("mode 0600") != std::string::npos);
  ::chmod(file.c_str(), 0644);
  const Check open = check_key_file(file, {key});
  CHECK(open.state == CheckState::failed);
  CHECK(open.message.find("everybody can read it") != std::string::npos);
  CHECK(open.remedy.starts_with("sudo chmod 600 "));
  CHECK(check_key_file(directory.path() / "absent", {}).state == CheckState::warning);
  ::chmod(file.c_str(), 0600);
  std::ofstream(file) << "nonsense";
  CHECK(check_key_file(file, {key}).state == CheckState::failed);
}
