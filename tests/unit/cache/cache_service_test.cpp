#include "server/cache/cache_service.hpp"

#include <sys/stat.h>

#include <bzlib.h>
#include <doctest/doctest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "../store/test_support.hpp"
#include "../support/coroutines.hpp"
#include "../support/eventually.hpp"
#include "../support/temporary_directory.hpp"
#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/base/version.hpp"
#include "common/keys/key_file.hpp"
#include "common/nix/nar.hpp"
#include "common/nix/narinfo.hpp"

using namespace nixbuild;
using namespace nixbuild::cache;
using Json = nlohmann::json;
using test::body_text;
namespace fs = std::filesystem;

namespace {

const std::string hash_a = "a3igw7z00yr0l7xscczsw50m6clmhi8k";
const std::string hash_b = "b3igw7z00yr0l7xscczsw50m6clmhi8k";
const std::string hash_c = "c3igw7z00yr0l7xscczsw50m6clmhi8k";
const std::string absent = "z3igw7z00yr0l7xscczsw50m6clmhi8k";

class Headers final : public http::RequestHeaders {
 public:
  std::string_view get(std::string_view name) const override {
    return name == "host" || name == "Host" ? std::string_view("build-server:5000<>")
                                            : std::string_view();
  }
};

// A store with a file "…-a" and a directory "…-b" that refers to it, served by serve-cache.
class CacheServiceFixture {
 public:
  explicit CacheServiceFixture(const std::function<void(config::CacheOptions&)>& change = {}) {
    fs::create_directories(store());
    std::ofstream(store() / (hash_a + "-a")) << "content of a";
    fs::create_directories(store() / (hash_b + "-b") / "sub");
    std::ofstream(store() / (hash_b + "-b") / "sub" / "file") << std::string(1000, 'x');
    add(hash_a, "a", {});
    add(hash_b, "b", {hash_a + "-a", hash_b + "-b"});
    options.state_dir = directory.path() / "state";
    options.real_store_dir = store();
    options.nix_state_dir = directory.path() / "var";
    options.nix_log_dir = directory.path() / "log";
    options.threads = 2;
    if (change) change(options);
    start();
  }

  fs::path store() const { return directory.path() / "store"; }
  std::string nar(const std::string& base_name) const {
    std::string text;
    nix::dump_nar(store() / base_name, [&](std::string_view bytes) { text += bytes; });
    return text;
  }

  void start() {
    service.reset();
    service = std::make_unique<CacheService>(options);
    // The first queries open the database.
    REQUIRE(test::eventually([&] { return health() == "healthy"; }));
  }

  std::string health() { return Json::parse(body_text(get("/health")))["status"]; }

  void add(const std::string& hash_part, const std::string& name,
           const std::vector<std::string>& references, const std::string& signatures = "",
           const std::string& deriver = "") {
    const std::string base_name = hash_part + "-" + name;
    const std::string content = nar(base_name);
    database.execute(
        "insert into ValidPaths (path, hash, registrationTime, narSize, sigs, deriver)"
        " values ('/nix/store/" +
        base_name + "', '" + nix::sha256(content).prefixed_base16() + "', 1, " +
        std::to_string(content.size()) + ", '" + signatures + "', " +
        (deriver.empty() ? "null" : "'/nix/store/" + deriver + "'") + ")");
    for (const std::string& reference : references) {
      database.execute(
          "insert into Refs select a.id, b.id from ValidPaths a, ValidPaths b where "
          "a.path = '/nix/store/" +
          base_name + "' and b.path = '/nix/store/" + reference + "'");
    }
  }

  http::Response get(const std::string& target, bool ranged = false) {
    return ask(*service->router(), http::Method::get, target, {}, ranged);
  }
  http::Response control(http::Method method, const std::string& target,
                         const std::string& body = {}) {
    return ask(*service->control_router(), method, target, body, false);
  }

  nix::NarInfo narinfo(const std::string& hash_part) {
    const http::Response response = get("/" + hash_part + ".narinfo");
    REQUIRE(response.status == 200);
    return nix::parse_narinfo(nix::StoreDir(), body_text(response));
  }

  test::TemporaryDirectory directory;
  store::test::WrittenDatabase database{directory.path()};
  config::CacheOptions options;
  std::unique_ptr<CacheService> service;

 private:
  static http::Response ask(const http::Router& router, http::Method method,
                            const std::string& target, const std::string& body, bool ranged) {
    const Headers headers;
    http::Request request;
    request.method = method;
    request.target = target;
    request.path = std::string_view(target).substr(0, target.find('?'));
    if (request.path.size() < target.size()) {
      request.query = std::string_view(target).substr(request.path.size() + 1);
    }
    request.body = body;
    request.headers = &headers;
    if (ranged) request.range = http::RangeRequest{0, std::nullopt, std::nullopt};
    const http::Router::Match match = router.match(method, request.path);
    if (match.handler == nullptr) return http::text_response(404, "no route");
    http::Reply reply = (*match.handler)(request, match.parameters());
    if (auto* response = std::get_if<http::Response>(&reply.value())) return std::move(*response);
    return test::run(std::get<boost::asio::awaitable<http::Response>>(std::move(reply.value())));
  }
};

std::string bzip2(const std::string& text) {
  std::string result(text.size() + text.size() / 100 + 1000, '\0');
  auto size = static_cast<unsigned>(result.size());
  REQUIRE(BZ2_bzBuffToBuffCompress(result.data(), &size, const_cast<char*>(text.data()),
                                   static_cast<unsigned>(text.size()), 9, 0, 0) == BZ_OK);
  result.resize(size);
  return result;
}

}  // namespace

TEST_CASE("a narinfo says what the database says, signed by our key") {
  CacheServiceFixture fixture;
  const http::Response response = fixture.get("/" + hash_b + ".narinfo");
  CHECK(response.status == 200);
  CHECK(response.content_type == "text/x-nix-narinfo");
  CHECK_FALSE(response.etag.empty());
  const nix::NarInfo narinfo = nix::parse_narinfo(nix::StoreDir(), body_text(response));
  const std::string nar = fixture.nar(hash_b + "-b");
  CHECK(narinfo.info.path.base_name() == hash_b + "-b");
  CHECK(narinfo.info.nar_hash == nix::sha256(nar));
  CHECK(narinfo.info.nar_size == nar.size());
  REQUIRE(narinfo.info.references.size() == 2);
  CHECK(narinfo.info.references[0].base_name() == hash_a + "-a");
  CHECK(narinfo.compression == "zstd");
  CHECK_FALSE(narinfo.file_hash);
  REQUIRE(narinfo.info.signatures.size() == 1);
  const auto key = nix::PublicKey::parse(*read_file(fixture.options.state_dir / "cache-key.pub"));
  CHECK(key.verify(nix::fingerprint(nix::StoreDir(), narinfo.info), narinfo.info.signatures[0]));

  const Json json = Json::parse(body_text(fixture.get("/" + hash_b + ".narinfo?json")));
  CHECK(json.dump().find(hash_b) != std::string::npos);
}

TEST_CASE("absent paths and malformed hash parts are 404") {
  CacheServiceFixture fixture;
  CHECK(fixture.get("/" + absent + ".narinfo").status == 404);
  CHECK(fixture.get("/" + absent.substr(1) + ".narinfo").status == 404);
  CHECK(fixture.get("/E" + absent.substr(1) + ".narinfo").status == 404);
  CHECK(fixture.get("/" + absent + ".ls").status == 404);
  CHECK(fixture.get("/x.ls").status == 404);
  CHECK(fixture.get("/log/x").status == 404);
  CHECK(fixture.get("/log/" + absent + "-x").status == 404);
  CHECK(fixture.get("/log/" + absent + "-x.drv").status == 404);
  CHECK(fixture.get("/realisations/sha256:00!out.doi").status == 404);
  CHECK(fixture.get("/build-trace-v2/" + absent + "-x.drv/out.doi").status == 404);
  CHECK(fixture.get("/build-trace-v2/x/out.doi").status == 404);
  CHECK(fixture.get("/nar/x.nar").status == 404);
}

TEST_CASE("a narinfo follows the database and the NAR cache") {
  CacheServiceFixture fixture;
  const nix::NarInfo before = fixture.narinfo(hash_a);
  const std::string text = body_text(fixture.get("/" + before.url));
  REQUIRE(test::eventually([&] { return fixture.narinfo(hash_a).file_hash.has_value(); }));
  const nix::NarInfo kept = fixture.narinfo(hash_a);
  CHECK(kept.file_hash == nix::sha256(text));
  CHECK(kept.file_size == text.size());
  CHECK(kept.info.signatures == before.info.signatures);

  for (const auto& item : fs::directory_iterator(fixture.options.state_dir / "nar-cache")) {
    fs::remove(item.path());
  }
  // It is made again, to the same bytes: by the second request, if the first one still finds the
  // production that has just committed the file.
  const auto kept_again = [&] {
    CHECK(body_text(fixture.get("/" + before.url)) == text);
    return !fs::is_empty(fixture.options.state_dir / "nar-cache") &&
           fixture.narinfo(hash_a).file_hash == kept.file_hash;
  };
  REQUIRE(test::eventually(kept_again));

  fixture.database.execute("update ValidPaths set sigs = 'other-1:AAAA'");
  CHECK(fixture.narinfo(hash_a).info.signatures.size() == 2);
  fixture.database.execute("delete from Refs");
  fixture.database.execute("delete from ValidPaths");
  CHECK(fixture.get("/" + hash_a + ".narinfo").status == 404);
}

TEST_CASE("every key signs, and reloading takes up new ones") {
  const test::TemporaryDirectory keys;
  keys::generate_key_file(keys.path() / "one", "one");
  keys::generate_key_file(keys.path() / "two", "two");
  CacheServiceFixture fixture([&](config::CacheOptions& options) {
    options.secret_key_files = {keys.path() / "one", keys.path() / "two"};
  });
  CHECK(fixture.narinfo(hash_a).info.signatures.size() == 2);
  CHECK_FALSE(fs::exists(fixture.options.state_dir / "cache-key"));
  fs::remove(keys.path() / "two");
  CHECK_THROWS_AS(fixture.service->reload(fixture.options), UsageError);
  CHECK(fixture.narinfo(hash_a).info.signatures.size() == 2);
  keys::generate_key_file(keys.path() / "two", "three");
  fixture.service->reload(fixture.options);
  const nix::NarInfo narinfo = fixture.narinfo(hash_a);
  REQUIRE(narinfo.info.signatures.size() == 2);
  CHECK(narinfo.info.signatures[1].starts_with("three:"));
  const std::string info = body_text(fixture.get("/nix-cache-info"));
  CHECK(info.find("StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 30\nPublicKey: one:") == 0);
  CHECK(info.find("\nPublicKey: three:") != std::string::npos);
}

TEST_CASE("reloading takes what may change of the options") {
  const test::TemporaryDirectory keys;
  keys::generate_key_file(keys.path() / "one", "one");
  keys::generate_key_file(keys.path() / "two", "two");
  CacheServiceFixture fixture(
      [&](config::CacheOptions& options) { options.secret_key_files = {keys.path() / "one"}; });
  fixture.database.execute("update ValidPaths set sigs = 'upstream-1:AAAA'");
  CHECK(fixture.get("/" + hash_a + ".narinfo").status == 200);
  config::CacheOptions options = fixture.options;
  options.priority = 50;
  options.skip_signed_by = {"upstream-1"};
  options.secret_key_files.push_back(keys.path() / "two");
  fixture.service->reload(options);
  CHECK(fixture.get("/" + hash_a + ".narinfo").status == 404);
  const std::string info = body_text(fixture.get("/nix-cache-info"));
  CHECK(info.find("\nPriority: 50\n") != std::string::npos);
  CHECK(info.find("\nPublicKey: two:") != std::string::npos);
  options.skip_signed_by.clear();
  fixture.service->reload(options);
  CHECK(fixture.narinfo(hash_a).info.signatures.size() == 3);
}

TEST_CASE("every form of a NAR's URL works, right after a restart too") {
  CacheServiceFixture fixture;
  const std::string nar = fixture.nar(hash_b + "-b");
  const std::string nar_hash = nix::sha256(nar).base32();
  for (const std::string& url :
       {nar_hash + ".nar?hash=" + hash_b, nar_hash + ".nar", hash_b + "-" + nar_hash + ".nar",
        hash_b + ".nar",
        // A path with another NAR: the hash of the NAR decides.
        nar_hash + ".nar?hash=" + hash_a, nar_hash + ".nar?hash=" + absent}) {
    CAPTURE(url);
    fixture.start();
    const http::Response response = fixture.get("/nar/" + url);
    REQUIRE(response.status == 200);
    CHECK(response.content_type == "application/x-nix-nar");
    CHECK(response.accept_ranges);
    CHECK(response.empty_range_at_end);
    CHECK(response.cache_control.find("immutable") != std::string_view::npos);
    CHECK(body_text(response) == nar);
    CHECK(body_text(response, 300, 500) == nar.substr(300, 500));
  }
  const http::Response whole = fixture.get("/nar/" + nar_hash + ".nar.zst");
  CHECK_FALSE(whole.accept_ranges);
  const std::string compressed = body_text(whole);
  CHECK(compressed.size() < nar.size());
  // It is unknown which file the first part was from.
  fixture.start();
  CHECK(fixture.get("/nar/" + hash_b + "-" + nar_hash + ".nar.zst", true).status == 404);
  const std::string advertised = fixture.narinfo(hash_b).url;
  CHECK(advertised.starts_with("nar/" + nar_hash + "-z3v"));
  CHECK(body_text(fixture.get("/" + advertised, true)) == compressed);
  CHECK(body_text(fixture.get("/nar/" + nar_hash + ".nar.xz"))
            .starts_with("\xfd"
                         "7zXZ"));
  // No path has this hash.
  CHECK(fixture.get("/nar/" + nix::sha256("nothing").base32() + ".nar?hash=" + hash_b).status ==
        404);
  CHECK(fixture.get("/nar/" + nix::sha256("nothing").base32() + ".nar").status == 404);
}

TEST_CASE("a path that has gone from the disk is 404") {
  CacheServiceFixture fixture;
  const std::string url = fixture.narinfo(hash_b).url;
  fs::remove_all(fixture.store() / (hash_b + "-b"));
  CHECK(fixture.get("/" + url).status == 404);
  CHECK(fixture.get("/nar/" + hash_b + ".nar").status == 404);
  CHECK(fixture.get("/" + hash_b + ".ls").status == 404);
}

TEST_CASE("what is advertised is what the options say") {
  for (const auto& [compression, name, suffix] :
       {std::tuple(compress::Compression::none, "none", ".nar?"),
        std::tuple(compress::Compression::xz, "xz", ".nar.xz?"),
        std::tuple(compress::Compression::zstd, "zstd", ".nar.zst?")}) {
    CacheServiceFixture fixture([&](config::CacheOptions& options) {
      options.compression = compression;
      options.priority = 7;
    });
    const nix::NarInfo narinfo = fixture.narinfo(hash_a);
    CHECK(narinfo.compression == name);
    CHECK(narinfo.url.find(suffix) != std::string::npos);
    CHECK(body_text(fixture.get("/nix-cache-info")).find("\nPriority: 7\n") != std::string::npos);
    if (compression == compress::Compression::none) {
      CHECK(narinfo.file_hash == narinfo.info.nar_hash);
      CHECK(narinfo.file_size == narinfo.info.nar_size);
    }
  }
}

TEST_CASE("what an upstream cache signed is left to it, but its NAR is sent") {
  CacheServiceFixture fixture(
      [](config::CacheOptions& options) { options.skip_signed_by = {"cache.nixos.org-1"}; });
  std::ofstream(fixture.store() / (hash_c + "-c")) << "content of c";
  fixture.add(hash_c, "c", {}, "cache.nixos.org-1:AAAA");
  CHECK(fixture.get("/" + hash_c + ".narinfo").status == 404);
  CHECK(fixture.get("/" + hash_c + ".narinfo").status == 404);
  CHECK(fixture.get("/" + hash_c + ".ls").status == 404);
  CHECK(fixture.get("/nar/" + hash_c + ".nar").status == 200);
  CHECK(fixture.get("/" + hash_a + ".narinfo").status == 200);
  const Json warmed = Json::parse(
      body_text(fixture.control(http::Method::post, "/warm", "/nix/store/" + hash_c + "-c\n")));
  CHECK(warmed["paths"] == 1);
  CHECK(warmed["queued"] == 0);
}

TEST_CASE("a listing tells where a file lies in the NAR") {
  CacheServiceFixture fixture;
  const http::Response response = fixture.get("/" + hash_b + ".ls");
  CHECK(response.content_type == "application/json");
  const Json file = Json::parse(body_text(response))["root"]["entries"]["sub"]["entries"]["file"];
  CHECK(file["size"] == 1000);
  CHECK(fixture.nar(hash_b + "-b").substr(file["narOffset"].get<std::size_t>(), 1000) ==
        std::string(1000, 'x'));
}

TEST_CASE("logs come decompressed, by derivation or output, however Nix stored them") {
  CacheServiceFixture fixture;
  const fs::path logs = fixture.options.nix_log_dir / "drvs";
  const auto put = [&](const fs::path& file, const std::string& text) {
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  };
  std::string text;
  for (int i = 0; i < 100'000; ++i)
    text += "line " + std::to_string(i * 7919 % 1000) + "\n";
  const std::string first = hash_a + "-one.drv";
  put(logs / first.substr(0, 2) / (first.substr(2) + ".bz2"), bzip2(text));
  CHECK(body_text(fixture.get("/log/" + first)) == text);
  const std::string second = hash_b + "-two.drv";
  put(logs / second.substr(0, 2) / second.substr(2), "plain");
  CHECK(body_text(fixture.get("/log/" + second)) == "plain");
  const std::string third = hash_c + "-three.drv";
  put(logs / (third + ".bz2"), bzip2("one") + bzip2("two"));
  CHECK(body_text(fixture.get("/log/" + third)) == "onetwo");
  std::ofstream(fixture.store() / (hash_c + "-c")) << "content of c";
  fixture.add(hash_c, "c", {}, "", second);
  CHECK(body_text(fixture.get("/log/" + hash_c + "-c")) == "plain");
  CHECK(fixture.get("/log/" + hash_a + "-a").status == 404);
  // Damaged: the connection is cut, not the body shortened.
  put(logs / third.substr(0, 2) / (third.substr(2) + ".bz2"), bzip2(text).substr(0, 2000));
  const http::Response damaged = fixture.get("/log/" + third);
  CHECK_THROWS_AS(body_text(damaged), FormatError);
  // A builder that can write there must neither hold the server up nor lead it elsewhere.
  const std::string fourth = hash_a + "-four.drv";
  const fs::path place = logs / fourth.substr(0, 2) / fourth.substr(2);
  fs::create_directories(place.parent_path());
  REQUIRE(::mkfifo(place.c_str(), 0600) == 0);
  CHECK(fixture.get("/log/" + fourth).status == 404);
  fs::rename(place, place.string() + ".bz2");
  CHECK(fixture.get("/log/" + fourth).status == 404);
  const std::string fifth = "zz" + hash_a.substr(2) + "-five.drv";
  put(fixture.options.nix_log_dir / "elsewhere" / fifth.substr(2), "secret");
  fs::create_directory_symlink("../elsewhere", logs / "zz");
  CHECK(fixture.get("/log/" + fifth).status == 404);
}

TEST_CASE("the control socket's routes warm closures and are not public") {
  CacheServiceFixture fixture;
  CHECK(fixture.get("/warm").status == 404);
  CHECK(fixture.get("/status").status == 404);
  const http::Response response =
      fixture.control(http::Method::post, "/warm", "/nix/store/" + hash_b + "-b\n");
  CHECK(response.status == 202);
  const Json json = Json::parse(body_text(response));
  CHECK(json["paths"] == 2);
  CHECK(json["queued"] == 2);
  REQUIRE(test::eventually(
      [&] { return fixture.narinfo(hash_a).file_hash && fixture.narinfo(hash_b).file_hash; }));
  const Json status = Json::parse(body_text(fixture.control(http::Method::get, "/status")));
  CHECK(status["nar_cache"]["files"] == 2);
  CHECK(status["warm"]["requests"] == 1);
  const Json again = Json::parse(
      body_text(fixture.control(http::Method::post, "/warm", "/nix/store/" + hash_b + "-b")));
  CHECK(again["queued"] == 0);
  CHECK(fixture.control(http::Method::post, "/warm", "nonsense\n").status == 400);
  CHECK(fixture.control(http::Method::post, "/warm", "/nix/store/../etc/passwd").status == 400);
  CHECK(fixture.control(http::Method::post, "/warm", "/nix/store/" + absent + "-x").status == 202);
}

TEST_CASE("while the database cannot be read, it is waited for; then memory, then 503") {
  CacheServiceFixture fixture;
  const std::string known = body_text(fixture.get("/" + hash_a + ".narinfo"));
  const std::string url = fixture.narinfo(hash_a).url;
  const fs::path file = fixture.database.file();
  SUBCASE("it comes back in time") {
    fixture.database.close();
    fs::rename(file, file.string() + "-away");
    REQUIRE(test::eventually([&] { return fixture.health() == "degraded"; }));
    // Paths that are not in memory: both requests wait for the database.
    const std::jthread bring_back([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
      fs::rename(file.string() + "-away", file);
    });
    const auto begin = std::chrono::steady_clock::now();
    CHECK(fixture.get("/" + hash_b + ".narinfo").status == 200);
    CHECK(std::chrono::steady_clock::now() - begin > std::chrono::milliseconds(400));
    CHECK(fixture.get("/" + absent + ".narinfo").status == 404);
  }
  SUBCASE("it does not") {
    fixture.database.close();
    fs::rename(file, file.string() + "-away");
    REQUIRE(test::eventually([&] { return fixture.health() == "degraded"; }));
    const http::Response unknown = fixture.get("/" + hash_b + ".narinfo");
    CHECK(unknown.status == 503);
    for (const auto& header : unknown.headers)
      CHECK(header.first != "Retry-After");
    CHECK(body_text(fixture.get("/" + hash_a + ".narinfo")) == known);
    CHECK(fixture.get("/" + url).status == 200);
    fs::rename(file.string() + "-away", file);
    CHECK(fixture.get("/" + hash_b + ".narinfo").status == 200);
    CHECK(fixture.get("/" + absent + ".narinfo").status == 404);
    CHECK(fixture.health() == "healthy");
  }
}

TEST_CASE("the pages for people and programs") {
  CacheServiceFixture fixture;
  const http::Response page = fixture.get("/");
  CHECK(page.content_type.starts_with("text/html"));
  const std::string html = body_text(page);
  CHECK(html.find("http://build-server:5000&lt;&gt;") != std::string::npos);
  CHECK(html.find("<>") == std::string::npos);
  const auto key = *read_file(fixture.options.state_dir / "cache-key.pub");
  CHECK(html.find(key.substr(0, key.size() - 1)) != std::string::npos);
  CHECK(Json::parse(body_text(fixture.get("/health")))["status"] == "healthy");
  CHECK(body_text(fixture.get("/version")) == NIXBUILD_VERSION "\n");
  fixture.narinfo(hash_a);
  fixture.narinfo(hash_a);
  const std::string metrics = body_text(fixture.get("/metrics"));
  CHECK(metrics.find("\nnixbuild_cache_narinfo_lookups_total{from=\"memory\"} 1\n") !=
        std::string::npos);
  CHECK(metrics.find("\nnixbuild_cache_narinfo_lookups_total{from=\"database\"} 1\n") !=
        std::string::npos);
  CHECK(metrics.ends_with("\n"));
}

TEST_CASE("with --only-signed-by, nothing else is served, warmed or signed") {
  const test::TemporaryDirectory keys;
  const nix::SecretKey key = keys::generate_key_file(keys.path() / "server", "server-1");
  CacheServiceFixture fixture([&](config::CacheOptions& options) {
    options.only_signed_by = {key.public_key().to_string()};
  });
  const std::string build_id = "0123456789abcdef";
  const auto add_debug_path = [&](const std::string& hash_part, const std::string& signatures) {
    const std::string name = hash_part + "-x-debug";
    const fs::path directory = fixture.store() / name / "lib/debug/.build-id/01";
    fs::create_directories(directory);
    std::ofstream(directory / "23456789abcdef.debug") << "debug information";
    fixture.add(hash_part, "x-debug", {}, signatures);
  };
  add_debug_path(hash_c, "");
  const auto is_absent = [&](const std::string& target) {
    CAPTURE(target);
    CHECK(fixture.get(target).status == 404);
  };
  for (const std::string& hash_part : {hash_a, hash_b, hash_c}) {
    is_absent("/" + hash_part + ".narinfo");
    is_absent("/" + hash_part + ".ls");
    is_absent("/serve/" + hash_part);
    is_absent("/nar/" + hash_part + ".nar");
  }
  is_absent("/nar/" + nix::sha256(fixture.nar(hash_a + "-a")).base32() + ".nar");
  is_absent("/debuginfo/" + build_id);
  is_absent("/buildid/" + build_id + "/debuginfo");
  const Json warmed = Json::parse(
      body_text(fixture.control(http::Method::post, "/warm", "/nix/store/" + hash_b + "-b\n")));
  CHECK(warmed["paths"] == 0);
  CHECK_FALSE(fs::exists(fixture.options.state_dir / "cache-key"));
  CHECK(body_text(fixture.get("/nix-cache-info")).find("PublicKey") == std::string::npos);
  fixture.service->reload(fixture.options);
  CHECK_FALSE(fs::exists(fixture.options.state_dir / "cache-key"));

  // The same bytes at a path that the key has signed.
  const std::string content = fixture.nar(hash_a + "-a");
  fs::copy_file(fixture.store() / (hash_a + "-a"), fixture.store() / (absent + "-same"));
  const nix::PathInfo info{*nix::StorePath::parse(absent + "-same"),
                           nix::sha256(content),
                           content.size(),
                           {},
                           {},
                           {},
                           {}};
  fixture.add(absent, "same", {}, key.sign(nix::fingerprint(nix::StoreDir(), info)));
  CHECK(fixture.narinfo(absent).info.signatures.size() == 1);
  CHECK(body_text(fixture.get("/nar/" + nix::sha256(content).base32() + ".nar")) == content);
  is_absent("/nar/" + hash_a + ".nar");
  is_absent("/" + hash_a + ".narinfo");
}
