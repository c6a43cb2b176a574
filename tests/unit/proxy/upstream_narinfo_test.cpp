#include "server/proxy/upstream_narinfo.hpp"

#include <doctest/doctest.h>

#include <string>

#include "common/base/error.hpp"

using namespace nixbuild;
using namespace nixbuild::proxy;

namespace {

const std::string hash_part = "4bx8lyzls1zk8zh96bapxa24vxbcyb7y";
const std::string other_hash_part = "5n33via7rcq38pwb869pfcyy939ll70c";
const std::string nar_hash = "sha256:1bxybbv94vkiz816xx3rq0ki6xg3j9jhmja4l6d7qzdpi9i9jz9y";
const std::string file_hash = "sha256:0gs2nbl9q0rmf99xcw55b7mhf1p4vly12704pyh4lzpg3lb0xbvv";

std::string narinfo(const std::string& url, const std::string& more = {}) {
  return "StorePath: /nix/store/" + hash_part + "-a\nURL: " + url +
         "\nCompression: xz\nNarHash: " + nar_hash +
         "\nNarSize: 120\nReferences: \nSig: a-1:AAAA\nSig: b-1:BBBB\n" + more;
}

UpstreamNarinfo parse(const std::string& text) {
  return parse_upstream_narinfo(nix::StoreDir(), hash_part, "0123456789abcdef", text);
}

}  // namespace

TEST_CASE("only the URL is rewritten") {
  const UpstreamNarinfo parsed = parse(narinfo("nar/x.nar.xz?hash=y", "Unknown: field\n"));
  CHECK(parsed.file == "x.nar.xz");
  CHECK(parsed.fields.url == "nar/x.nar.xz?hash=y");
  CHECK(parsed.text ==
        narinfo("nar/" + hash_part + "/0123456789abcdef/x.nar.xz", "Unknown: field\n"));
}

TEST_CASE("a line that only looks like a URL stays") {
  const std::string text = "XURL: a\n" + narinfo("nar/x.nar");
  CHECK(parse(text).text.starts_with("XURL: a\nStorePath: "));
}

TEST_CASE("URLs that lead out of the cache are refused") {
  for (const char* url : {"http://h/x.nar", "//h/x.nar", "/x.nar", "nar/../x.nar", "../x.nar",
                          "nar/./x.nar", "..", "nar//x.nar", "nar/", "nar/%2e%2e/x", "nar/x y",
                          "nar/x#y", "nar\\x", "nar/x?a b", "nar/x?a#b", "file:x", "nar/@x", ""}) {
    CAPTURE(url);
    CHECK_FALSE(file_of_url(url));
  }
  CHECK_FALSE(file_of_url(std::string(2000, 'a')));
  CHECK_THROWS_AS(parse(narinfo("http://h/x.nar")), FormatError);
  CHECK(file_of_url("x.nar") == "x.nar");
  CHECK(file_of_url("a/b/c+d=e_f~g.nar.zst?h=%20") == "c+d=e_f~g.nar.zst");
  CHECK(file_of_url("...nar") == "...nar");
}

TEST_CASE("a narinfo is of the path that was asked for, in this store") {
  CHECK_THROWS_AS(parse_upstream_narinfo(nix::StoreDir(), other_hash_part, "i", narinfo("x")),
                  FormatError);
  CHECK_THROWS_AS(parse_upstream_narinfo(nix::StoreDir("/other"), hash_part, "i", narinfo("x")),
                  FormatError);
  CHECK_THROWS_AS(parse("<!doctype html>\n"), FormatError);
  CHECK_THROWS_AS(parse(""), FormatError);
  CHECK_THROWS_AS(parse(narinfo("x", "A: " + std::string(narinfo_limit, 'a') + "\n")), FormatError);
}

TEST_CASE("which files are the same") {
  const auto of = [](const std::string& text) { return parse(text).fields; };
  nix::NarInfo unhashed = of(narinfo("x"));
  nix::NarInfo hashed = of(narinfo("x", "FileHash: " + file_hash + "\nFileSize: 7\n"));
  CHECK_FALSE(is_same_file(unhashed, unhashed));
  CHECK_FALSE(is_same_file(hashed, unhashed));
  CHECK(is_same_file(hashed, hashed));
  CHECK(expected_hash(hashed) == hashed.file_hash);
  CHECK(expected_size(hashed) == 7);
  CHECK_FALSE(expected_hash(unhashed));
  CHECK_FALSE(expected_size(unhashed));
  unhashed.compression = "none";
  CHECK(is_same_file(unhashed, unhashed));
  CHECK_FALSE(is_same_file(hashed, unhashed));
  CHECK(expected_hash(unhashed) == unhashed.info.nar_hash);
  CHECK(expected_size(unhashed) == 120);
}

TEST_CASE("an upstream's id is a name that needs no escaping") {
  CHECK(upstream_id("http://build-server:5000") == upstream_id("http://build-server:5000"));
  CHECK(upstream_id("http://build-server:5000") != upstream_id("http://build-server:5001"));
  CHECK(file_of_url(upstream_id("http://a")).value().size() == 16);
}

TEST_CASE("the store directory of a nix-cache-info") {
  CHECK(parse_cache_info("StoreDir: /nix/store\nWantMassQuery: 1\n") == "/nix/store");
  CHECK(parse_cache_info("Priority: 4\r\nStoreDir:/nix/store\r\n") == "/nix/store");
  CHECK(parse_cache_info("StoreDir: /s") == "/s");
  for (const char* text : {"", "WantMassQuery: 1\n", "StoreDir: \n", "StoreDir: nix\n",
                           "StoreDir: /a\nStoreDir: /b\n", "<html>StoreDir: /nix/store</html>"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(parse_cache_info(text), FormatError);
  }
}
