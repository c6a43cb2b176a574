// Values from real versions of Nix: see make-vectors.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "common/nix/base32.hpp"
#include "common/nix/hash.hpp"
#include "common/nix/keys.hpp"
#include "common/nix/nar.hpp"
#include "common/nix/narinfo.hpp"
#include "support.hpp"

namespace fs = std::filesystem;
using namespace nixbuild::nix;
using namespace nixbuild::nix::test;
using nlohmann::json;

namespace {

std::vector<std::uint8_t> from_hex(std::string_view hex) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(
        static_cast<std::uint8_t>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  return bytes;
}

std::vector<fs::path> files_with(const fs::path& directory, std::string_view extension) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(directory))
    if (entry.path().extension() == extension) files.push_back(entry.path());
  REQUIRE_FALSE(files.empty());
  return files;
}

// The output of `nix path-info --json` for a path: 2.8 prints a list, later versions an object.
json path_info_of(const json& all, const std::string& path) {
  if (all.is_object()) return all.at(path);
  for (const json& one : all)
    if (one.at("path") == path) return one;
  return nullptr;
}

// The tree that make-vectors creates.
void make_tree(const fs::path& tree) {
  fs::create_directories(tree / "empty");
  fs::create_directories(tree / "sub/sub");
  write(tree / "a", "hello");
  write(tree / "zero", "");
  write(tree / "seven", "1234567");
  write(tree / "eight", "12345678");
  write(tree / "nine", "123456789");
  write(tree / "run", "#!/bin/sh\n", true);
  fs::create_symlink("../nowhere", tree / "link");
  fs::create_symlink("bad\xff", tree / "sub/odd-link");
  write(tree / "sub/sub/x", "x");
  write(tree / "bad\xff\xfename", "b");
  write(tree / "\xc3\xbcn\xc3\xaf", "u");
  write(tree / "quote\"back\\slash\nline\x7f\x01", "q");
  for (const std::string name : {"A", "B", "Z", "_", "a-", "a.b", "a0", "ab", "a b"})
    write(tree / "sub" / name, name);
}

}  // namespace

TEST_CASE("hashes are as Nix renders them") {
  for (const fs::path& set : vector_sets())
    for (const std::string& line : lines_of(set / "hashes")) {
      CAPTURE(line);
      const auto words = words_of(line);
      REQUIRE(words.size() == 5);
      const std::vector<std::uint8_t> input =
          words[0] == "-" ? std::vector<std::uint8_t>() : from_hex(words[0]);
      Sha256Hasher hasher;
      hasher.update(input);
      const Sha256 hash = hasher.finish();
      CHECK(hash.base16() == words[1]);
      CHECK(hash.base32() == words[2]);
      CHECK(hash.sri() == words[4]);
      CHECK(Sha256::parse(words[1]) == hash);
      CHECK(Sha256::parse(words[2]) == hash);
      CHECK(Sha256::parse("sha256:" + words[3]) == hash);
      CHECK(Sha256::parse(words[4]) == hash);
    }
}

TEST_CASE("base32 is as Nix renders it, for hashes of 16 to 64 bytes") {
  for (const fs::path& set : vector_sets())
    for (const std::string& line : lines_of(set / "base32")) {
      CAPTURE(line);
      const auto words = words_of(line);
      REQUIRE(words.size() == 2);
      CHECK(base32_encode(from_hex(words[0])) == words[1]);
      CHECK(base32_decode(words[1]) == from_hex(words[0]));
    }
}

TEST_CASE("key pairs that Nix made belong together") {
  for (const fs::path& set : vector_sets()) {
    CAPTURE(set);
    const SecretKey key = SecretKey::parse(content_of(set / "key.secret"));
    CHECK(key.name() == "test-vectors-1");
    CHECK(key.public_key() == PublicKey::parse(content_of(set / "key.public")));
    CHECK(key.to_string() == lines_of(set / "key.secret").at(0));
    CHECK(key.public_key().to_string() == lines_of(set / "key.public").at(0));
  }
}

TEST_CASE("narinfos that Nix wrote are read, written back unchanged, and their signatures hold") {
  const StoreDir store_dir;
  for (const fs::path& set : vector_sets()) {
    const SecretKey secret_key = SecretKey::parse(content_of(set / "key.secret"));
    const PublicKey key = PublicKey::parse(content_of(set / "key.public"));
    for (const std::string cache : {"none", "xz"}) {
      const json path_infos = json::parse(content_of(set / cache / "path-info.json"));
      CHECK(files_with(set / cache, ".narinfo").size() == 8);
      for (const fs::path& file : files_with(set / cache, ".narinfo")) {
        CAPTURE(file);
        const std::string text = content_of(file);
        const NarInfo narinfo = parse_narinfo(store_dir, text);
        CHECK(render_narinfo(store_dir, narinfo) == text);
        CHECK(narinfo.info.path.hash_part() == file.stem().string());
        CHECK(narinfo.compression == cache);

        const std::string signed_text = fingerprint(store_dir, narinfo.info);
        REQUIRE(narinfo.info.signatures.size() == 1);
        CHECK(key.verify(signed_text, narinfo.info.signatures[0]));
        // Ed25519 is deterministic.
        CHECK(secret_key.sign(signed_text) == narinfo.info.signatures[0]);

        const json ours = json::parse(render_narinfo_json(store_dir, narinfo));
        const json theirs = path_info_of(path_infos, store_dir.print(narinfo.info.path));
        REQUIRE(theirs.is_object());
        for (const auto& [name, value] : theirs.items()) {
          CAPTURE(name);
          CHECK(ours.at(name) == value);
        }

        if (cache == "none") {
          const std::string nar = content_of(set / cache / narinfo.url);
          CHECK(nar.size() == narinfo.info.nar_size);
          CHECK(sha256(nar) == narinfo.info.nar_hash);
        }
      }
    }
  }
}

TEST_CASE("a tree's NAR is the one that nix-store --dump writes") {
  const TemporaryDirectory directory;
  const fs::path& at = directory.path();
  make_tree(at / "tree");
  write(at / "file", "content");
  write(at / "executable", "content", true);
  fs::create_symlink("target", at / "symlink");
  fs::create_directory(at / "empty-directory");
  for (const fs::path& set : vector_sets()) {
    CAPTURE(set);
    CHECK(dump(at / "tree") == content_of(set / "tree.nar"));
    CHECK(dump(at / "file") == content_of(set / "file.nar"));
    CHECK(dump(at / "executable") == content_of(set / "executable.nar"));
    CHECK(dump(at / "symlink") == content_of(set / "symlink.nar"));
    CHECK(dump(at / "empty-directory") == content_of(set / "empty-directory.nar"));
  }
}

TEST_CASE("NARs that Nix made are restored to trees with the same NAR and listing") {
  for (const fs::path& set : vector_sets()) {
    std::vector<fs::path> files = files_with(set, ".nar");
    for (const fs::path& file : files_with(set / "none/nar", ".nar"))
      files.push_back(file);
    for (const fs::path& file : files) {
      CAPTURE(file);
      const TemporaryDirectory directory;
      const std::string nar = content_of(file);
      restore(nar, directory.path() / "x");
      CHECK(dump(directory.path() / "x") == nar);
      CHECK(list_nar_of(directory.path() / "x") == listing_of(nar));
      CHECK(listing_of(nar, 1) == listing_of(nar));
    }
  }
}

TEST_CASE("listings are those that Nix writes") {
  const StoreDir store_dir;
  for (const fs::path& set : vector_sets()) {
    const bool old = set.filename() == "nix-2.8";  // which orders keys differently
    for (const fs::path& file : files_with(set / "none", ".ls")) {
      CAPTURE(file);
      const NarInfo narinfo =
          parse_narinfo(store_dir, content_of(fs::path(file).replace_extension(".narinfo")));
      const std::string ours =
          render_nar_listing(listing_of(content_of(set / "none" / narinfo.url)));
      const std::string theirs = content_of(file);
      CHECK(json::parse(ours) == json::parse(theirs));
      if (!old) CHECK(ours == theirs);
    }
  }
}
