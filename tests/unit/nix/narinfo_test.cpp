#include "common/nix/narinfo.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "common/base/error.hpp"

using namespace nixbuild::nix;

namespace {

// The example of the Nix manual's page "narinfo".
const std::string manual_example =
    "StorePath: /nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo\n"
    "URL: nar/1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3.nar.xz"
    "?sha256=1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3\n"
    "Compression: xz\n"
    "FileHash: sha256:09ymwqf5i9q7d4dm7x4pjjcqqj0qrcp5lnznbh42gfsci5hcbqqm\n"
    "FileSize: 4029176\n"
    "NarHash: sha256:09ymwqf5i9q7d4dm7x4pjjcqqj0qrcp5lnznbh42gfsci5hcbqqm\n"
    "NarSize: 34878\n"
    "References: g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar n5wkd9frr45pa74if5gpz9j7mifg27fh-foo\n"
    "Deriver: g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar.drv\n"
    "Sig: "
    "asdf:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "==\n"
    "Sig: "
    "qwer:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "==\n"
    "CA: fixed:r:sha256:1lr187v6dck1rjh2j6svpikcfz53wyl3qrlcbb405zlh13x0khhh\n";

const std::string smallest =
    "StorePath: /nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo\n"
    "URL: x\n"
    "NarHash: sha256:1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3\n"
    "NarSize: 1\n";

const StoreDir store_dir;

std::string without_line(const std::string& text, std::string_view field) {
  const std::size_t begin = text.find(std::string(field) + ":");
  const std::size_t end = text.find('\n', begin) + 1;
  return text.substr(0, begin) + text.substr(end);
}

std::string narinfo_error(std::string_view text) {
  try {
    parse_narinfo(store_dir, text);
  } catch (const nixbuild::FormatError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("the manual's narinfo is read and written back unchanged") {
  const NarInfo narinfo = parse_narinfo(store_dir, manual_example);
  CHECK(narinfo.info.path.name() == "foo");
  CHECK(narinfo.url ==
        "nar/"
        "1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3.nar.xz?sha256="
        "1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3");
  CHECK(narinfo.compression == "xz");
  CHECK(narinfo.file_hash == narinfo.info.nar_hash);
  CHECK(narinfo.file_size == 4029176);
  CHECK(narinfo.info.nar_hash.sri() == "sha256-FePFYIlMuycIXPZbWi7LGEiMmZSX9FMbaQenWBzm1Sc=");
  CHECK(narinfo.info.nar_size == 34878);
  REQUIRE(narinfo.info.references.size() == 2);
  CHECK(narinfo.info.references[0].name() == "bar");
  CHECK(narinfo.info.deriver->name() == "bar.drv");
  REQUIRE(narinfo.info.signatures.size() == 2);
  CHECK(narinfo.info.signatures[1].starts_with("qwer:"));
  CHECK(narinfo.info.content_address ==
        "fixed:r:sha256:1lr187v6dck1rjh2j6svpikcfz53wyl3qrlcbb405zlh13x0khhh");
  CHECK(render_narinfo(store_dir, narinfo) == manual_example);
}

TEST_CASE("a fingerprint names path, hash, size and references") {
  const NarInfo narinfo = parse_narinfo(store_dir, manual_example);
  CHECK(fingerprint(store_dir, narinfo.info) ==
        "1;/nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo;sha256:"
        "09ymwqf5i9q7d4dm7x4pjjcqqj0qrcp5lnznbh42gfsci5hcbqqm;34878;"
        "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar,"
        "/nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo");
  CHECK(fingerprint(store_dir, parse_narinfo(store_dir, smallest).info) ==
        "1;/nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo;sha256:"
        "1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3;1;");
}

TEST_CASE("a narinfo needs path, URL, hash and size; the rest is optional") {
  const NarInfo narinfo = parse_narinfo(store_dir, smallest);
  CHECK(narinfo.compression == "bzip2");
  CHECK_FALSE(narinfo.file_hash);
  CHECK_FALSE(narinfo.file_size);
  CHECK(narinfo.info.references.empty());
  CHECK_FALSE(narinfo.info.deriver);
  CHECK(narinfo.info.signatures.empty());
  CHECK(narinfo.info.content_address.empty());
  CHECK(render_narinfo(store_dir, narinfo) ==
        "StorePath: /nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo\n"
        "URL: x\n"
        "Compression: bzip2\n"
        "NarHash: sha256:1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3\n"
        "NarSize: 1\n"
        "References: \n");
  for (const std::string field : {"StorePath", "URL", "NarHash", "NarSize"}) {
    CAPTURE(field);
    CHECK(narinfo_error(without_line(smallest, field)) == "the narinfo has no field " + field);
  }
}

TEST_CASE("unknown fields are passed over, in any order of the known ones") {
  CHECK(parse_narinfo(store_dir, "System: x86_64-linux\nSystem: x\n" + smallest + "New: \n") ==
        parse_narinfo(store_dir, smallest));
  CHECK(parse_narinfo(store_dir, smallest + "References: \nDeriver: unknown-deriver\nCA: \n") ==
        parse_narinfo(store_dir, smallest));
  CHECK(parse_narinfo(store_dir, "NarSize: 1\n" + without_line(smallest, "NarSize")) ==
        parse_narinfo(store_dir, smallest));
}

TEST_CASE("references are kept sorted, each once") {
  const auto bar = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar";
  const auto foo = "n5wkd9frr45pa74if5gpz9j7mifg27fh-foo";
  const NarInfo narinfo =
      parse_narinfo(store_dir, smallest + "References: " + foo + "  " + bar + " " + foo + " \n");
  REQUIRE(narinfo.info.references.size() == 2);
  CHECK(narinfo.info.references[0].base_name() == bar);
  CHECK(narinfo.info.references[1].base_name() == foo);
}

TEST_CASE("only Sig may come more than once") {
  for (const std::string field : {"StorePath", "URL", "Compression", "FileHash", "FileSize",
                                  "NarHash", "NarSize", "References", "Deriver", "CA"}) {
    const std::size_t begin = manual_example.find(field + ":");
    const std::string line =
        manual_example.substr(begin, manual_example.find('\n', begin) + 1 - begin);
    CAPTURE(line);
    CHECK(narinfo_error(manual_example + line) ==
          "line 13 of the narinfo: the field is there a second time");
  }
  CHECK_FALSE(
      narinfo_error(smallest + "Deriver: unknown-deriver\nDeriver: unknown-deriver\n").empty());
  CHECK_FALSE(narinfo_error(smallest + "References: \nReferences: \n").empty());
}

TEST_CASE("what is wrong with a narinfo is said with its line") {
  for (const std::string line : {
           "no colon\n",
           "NoSpace:x\n",
           "Empty:\n",
           ": x\n",
           "\n",
           "Cut: off",
           "Cut",
           "FileSize: 18446744073709551616\n",
           "FileSize: -1\n",
           "FileSize: +1\n",
           "FileSize: 1 \n",
           "FileSize: 0x10\n",
           "FileSize: \n",
           "FileSize: 1.0\n",
           "FileHash: 1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3\n",
           "FileHash: sha256:\n",
           "FileHash: md5:1w1fff338fvdw53sqgamddn1b2\n",
           "References: foo\n",
           "References: ../../../../../../../../../../etc/passwd-xx\n",
           "References: /nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo\n",
           "Deriver: \n",
           "Deriver: x\n",
           "Deriver: /nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo.drv\n",
           "Sig: \n",
           "Sig: x\n",
           "Sig: :x\n",
           "Sig: x:\n",
           "Sig: x:\r\n",
           "CA: \x01\n",
           "Compression: xz\r\n",
       }) {
    CAPTURE(line);
    CHECK(narinfo_error(smallest + line).starts_with("line 5 of the narinfo: "));
  }
  const std::string no_path = without_line(smallest, "StorePath");
  for (const std::string line :
       {"StorePath: n5wkd9frr45pa74if5gpz9j7mifg27fh-foo\n",
        "StorePath: /nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo/bin\n",
        "StorePath: /other/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo\n",
        "StorePath: /nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo\r\n", "StorePath: \n"}) {
    CAPTURE(line);
    CHECK(narinfo_error(line + no_path).starts_with("line 1 of the narinfo: "));
  }
  CHECK(narinfo_error("NarSize: 0\n" + without_line(smallest, "NarSize")) ==
        "line 1 of the narinfo: the NAR cannot be empty");
  CHECK(narinfo_error("URL: \n" + without_line(smallest, "URL")) ==
        "line 1 of the narinfo: the URL is empty");
  CHECK(narinfo_error("").starts_with("the narinfo has no field"));
  CHECK(parse_narinfo(store_dir, smallest + "FileSize: 18446744073709551615\n").file_size ==
        18446744073709551615U);
}

TEST_CASE("the JSON of a narinfo has what `nix path-info --json` shows of it") {
  using nlohmann::json;
  const json full =
      json::parse(render_narinfo_json(store_dir, parse_narinfo(store_dir, manual_example)));
  const json expected = json::parse(R"({
    "ca": "fixed:r:sha256:1lr187v6dck1rjh2j6svpikcfz53wyl3qrlcbb405zlh13x0khhh",
    "compression": "xz",
    "deriver": "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar.drv",
    "downloadHash": "sha256-FePFYIlMuycIXPZbWi7LGEiMmZSX9FMbaQenWBzm1Sc=",
    "downloadSize": 4029176,
    "narHash": "sha256-FePFYIlMuycIXPZbWi7LGEiMmZSX9FMbaQenWBzm1Sc=",
    "narSize": 34878,
    "path": "/nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo",
    "references": ["/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar",
                   "/nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo"],
    "registrationTime": null,
    "signatures": [
      "asdf:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
      "qwer:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="],
    "storeDir": "/nix/store",
    "ultimate": false,
    "url": "nar/1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3.nar.xz?sha256=1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3",
    "version": 1
  })");
  CHECK(full == expected);

  const json small =
      json::parse(render_narinfo_json(store_dir, parse_narinfo(store_dir, smallest)));
  CHECK(small["ca"].is_null());
  CHECK(small["deriver"].is_null());
  CHECK(small["references"] == json::array());
  CHECK(small["signatures"] == json::array());
  CHECK_FALSE(small.contains("downloadHash"));
  CHECK_FALSE(small.contains("downloadSize"));
}
