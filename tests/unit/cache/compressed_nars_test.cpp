#include "server/cache/compressed_nars.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <zstd.h>

#include <atomic>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "../support/coroutines.hpp"
#include "../support/eventually.hpp"
#include "../support/skip.hpp"
#include "../support/small_filesystem.hpp"
#include "../support/temporary_directory.hpp"
#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/nix/nar.hpp"

using namespace nixbuild;
using namespace nixbuild::cache;
using test::body_text;
using test::TemporaryDirectory;
namespace fs = std::filesystem;

namespace {

// Half of it is compressible.
std::string content_of_size(std::size_t size) {
  std::mt19937_64 random(7);
  std::string bytes;
  while (bytes.size() < size) {
    const std::uint64_t number = random();
    bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
    bytes.append(8, 'x');
  }
  bytes.resize(size);
  return bytes;
}

std::string nar_of(const fs::path& path) {
  std::string nar;
  nix::dump_nar(path, [&](std::string_view bytes) { nar += bytes; });
  return nar;
}

std::string decompress(const std::string& bytes) {
  std::string result(ZSTD_getFrameContentSize(bytes.data(), bytes.size()), '\0');
  const std::size_t n = ZSTD_decompress(result.data(), result.size(), bytes.data(), bytes.size());
  REQUIRE_FALSE(ZSTD_isError(n));
  return result;
}

const compress::Recipe zstd = compress::recipe_of(compress::Compression::zstd, 3);

// A store with one path, and everything that compresses it.
struct CompressedNarsFixture {
  explicit CompressedNarsFixture(std::uint64_t limit = 1 << 30, std::size_t size = 5'000'000,
                                 unsigned threads = 2, const fs::path& cache_directory = {})
      : layout{nix::StoreDir(), directory.path() / "store", {}, {}} {
    fs::create_directories(layout.real_store_dir);
    std::ofstream(layout.real_path(path)) << content_of_size(size);
    nar = nar_of(layout.real_path(path));
    info.nar_hash = nix::sha256(nar);
    info.nar_size = nar.size();
    open(limit, threads, cache_directory);
  }

  void open(std::uint64_t limit = 1 << 30, unsigned threads = 2,
            const fs::path& cache_directory = {}) {
    nars.reset();
    cache.reset();
    cache = std::make_unique<narcache::NarCache>(
        cache_directory.empty() ? directory.path() / "nar-cache" : cache_directory, limit);
    nars = std::make_unique<CompressedNars>(*cache, layout, threads, CompressedNars::Options{3, 0},
                                            unservable);
  }

  http::Response respond(bool ranged = false,
                         compress::Compression compression = compress::Compression::zstd) {
    return test::run(nars->respond(info, nars->recipe(compression), ranged));
  }

  // Waits until this many files are kept and none is being made any more.
  void until_made(std::uint64_t count = 1) {
    REQUIRE(test::eventually([&] { return nars->statistics().made >= count; }));
  }

  TemporaryDirectory directory;
  nix::StorePath path = *nix::StorePath::parse("a3igw7z00yr0l7xscczsw50m6clmhi8k-test");
  store::StoreLayout layout;
  nix::PathInfo info{path, {}, 0, {}, {}, {}, {}};
  std::string nar;
  UnservablePaths unservable;
  std::unique_ptr<narcache::NarCache> cache;
  std::unique_ptr<CompressedNars> nars;
};

}  // namespace

TEST_CASE("a NAR is compressed while it is sent, and kept") {
  CompressedNarsFixture fixture;
  CHECK_FALSE(fixture.nars->ready(fixture.info, zstd));
  const http::Response first = fixture.respond();
  CHECK(first.accept_ranges);
  const std::string text = body_text(first);
  CHECK(decompress(text) == fixture.nar);
  fixture.until_made();
  const auto second = fixture.nars->ready(fixture.info, zstd);
  REQUIRE(second);
  CHECK(second->accept_ranges);
  CHECK_FALSE(second->etag.empty());
  CHECK(std::holds_alternative<http::FileBody>(second->body));
  CHECK(body_text(*second) == text);
  CHECK(fixture.cache->find({fixture.info.nar_hash, zstd})->hash == nix::sha256(text));
}

TEST_CASE("many who ask at once share one compression and get the same bytes") {
  CompressedNarsFixture fixture;
  std::vector<std::string> texts(24);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      threads.emplace_back([&, i] {
        ::usleep(static_cast<useconds_t>(i * 700));
        texts[i] = body_text(fixture.respond(i % 5 == 4));
      });
    }
  }
  CHECK(decompress(texts[0]) == fixture.nar);
  for (const std::string& text : texts)
    CHECK(text == texts[0]);
  fixture.until_made();
  CHECK(fixture.nars->statistics().made == 1);
  CHECK(fixture.nars->statistics().streamed == 0);
}

TEST_CASE("a range of a file that is not there yet waits for it") {
  CompressedNarsFixture fixture;
  const http::Response response = fixture.respond(true);
  REQUIRE(std::holds_alternative<http::FileBody>(response.body));
  CHECK(decompress(body_text(response)) == fixture.nar);
}

TEST_CASE("what the cache cannot keep is made for each client, to the same bytes") {
  CompressedNarsFixture fixture;
  const std::string text = body_text(fixture.respond());
  for (const std::uint64_t limit : {std::uint64_t{0}, std::uint64_t{1'000'000}}) {
    CAPTURE(limit);
    fixture.until_made();
    fs::remove_all(fixture.directory.path() / "nar-cache");
    // With a limit, the first follows the file to its end and then continues by itself.
    fixture.open(limit);
    CHECK(body_text(fixture.respond()) == text);
    CHECK(body_text(fixture.respond()) == text);
    const http::Response ranged = fixture.respond(true);
    const auto* stream = std::get_if<http::StreamBody>(&ranged.body);
    REQUIRE(stream != nullptr);
    CHECK(stream->size == text.size());
    CHECK(body_text(ranged, 1'234'567, 1000) == text.substr(1'234'567, 1000));
    CHECK(body_text(ranged, text.size() - 10, 10) == text.substr(text.size() - 10));
    CHECK(body_text(ranged, 0, text.size()) == text);
    CHECK(fixture.nars->statistics().made == 0);
    CHECK(fixture.nars->statistics().streamed >= 5);
    fixture.open();
    CHECK(body_text(fixture.respond()) == text);
  }
}

TEST_CASE("a disk that fills up while a file is made does not break its download") {
  const test::SmallFilesystem small("size=1m");
  if (!small.mounted()) {
    test::skip("no right to mount a file system");
    return;
  }
  CompressedNarsFixture fixture(1 << 30, 5'000'000, 2, small.path());
  std::vector<std::string> texts(6);
  {
    std::vector<std::jthread> threads;
    for (std::string& text : texts) {
      threads.emplace_back([&] { text = body_text(fixture.respond()); });
    }
  }
  CHECK(decompress(texts[0]) == fixture.nar);
  for (const std::string& text : texts)
    CHECK(text == texts[0]);
  CHECK(fs::is_empty(small.path()));
}

TEST_CASE("a path that is not what was registered is not kept, and never sent as a whole") {
  // 404 if the error is found before the first byte, otherwise the download is cut.
  const auto refused = [](const http::Response& response) {
    if (response.status == 404) return true;
    try {
      body_text(response);
      return false;
    } catch (const std::exception&) {
      return true;
    }
  };
  CompressedNarsFixture fixture;
  SUBCASE("other content") {
    std::ofstream file(fixture.layout.real_path(fixture.path), std::ios::in | std::ios::out);
    file.seekp(4'000'000);
    file << "damaged";
    file.close();
  }
  SUBCASE("longer") {
    fs::resize_file(fixture.layout.real_path(fixture.path), 6'000'000);
  }
  SUBCASE("shorter") {
    fs::resize_file(fixture.layout.real_path(fixture.path), 4'000'000);
  }
  SUBCASE("gone") {
    fs::remove(fixture.layout.real_path(fixture.path));
  }
  CHECK(refused(fixture.respond()));
  CHECK_FALSE(fixture.cache->find({fixture.info.nar_hash, zstd}));
  CHECK(fixture.respond(true).status == 404);
  CHECK(fixture.nars->statistics().failed == 2);
  fixture.open(0);
  CHECK(refused(fixture.respond()));
}

TEST_CASE("a path that cannot be read just now is no path that is gone") {
  CompressedNarsFixture fixture;
  boost::asio::io_context context(1);
  const boost::asio::steady_timer has_its_descriptors(context);
  std::exception_ptr error;
  std::optional<http::Response> response;
  boost::asio::co_spawn(context, fixture.nars->respond(fixture.info, zstd, true),
                        [&](std::exception_ptr thrown, http::Response answer) {
                          error = std::move(thrown);
                          response = std::move(answer);
                        });
  // Only one descriptor is left: the NAR cache uses it for the new file, and none is left for the
  // path.
  const int next = ::dup(0);
  ::close(next);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit one = before;
  one.rlim_cur = static_cast<rlim_t>(next) + 1;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &one) == 0);
  context.run();
  ::setrlimit(RLIMIT_NOFILE, &before);
  CHECK(error);
  CHECK(fixture.nars->statistics().failed == 1);
  CHECK(decompress(body_text(fixture.respond(true))) == fixture.nar);
}

TEST_CASE("a large NAR that is not what was registered is sent, but not kept for long") {
  CompressedNarsFixture fixture(1 << 30, 40'000'000);
  const narcache::NarKey key{fixture.info.nar_hash, zstd};
  SUBCASE("right") {
    body_text(fixture.respond());
    fixture.until_made();
    REQUIRE(test::eventually([&] {
      const auto jobs = fixture.nars->statistics().jobs;
      return jobs.running + jobs.queued_background == 0;
    }));
    CHECK(fixture.cache->find(key));
    CHECK(fixture.nars->statistics().failed == 0);
  }
  SUBCASE("wrong") {
    std::ofstream file(fixture.layout.real_path(fixture.path), std::ios::in | std::ios::out);
    file.seekp(20'000'000);
    file << "damaged";
    file.close();
    body_text(fixture.respond());
    fixture.until_made();
    REQUIRE(test::eventually([&] { return fixture.nars->statistics().failed > 0; }));
    CHECK_FALSE(fixture.cache->find(key));
    CHECK(fs::is_empty(fixture.cache->directory()));
  }
}

TEST_CASE("after a restart a kept file is checked, and sent when it is good") {
  CompressedNarsFixture fixture;
  const std::string text = body_text(fixture.respond());
  fixture.until_made();
  fixture.open();
  CHECK_FALSE(fixture.nars->ready(fixture.info, zstd));
  const http::Response response = fixture.respond();
  CHECK(std::holds_alternative<http::FileBody>(response.body));
  CHECK(body_text(response) == text);
  CHECK(fixture.nars->ready(fixture.info, zstd));
  CHECK(fixture.nars->statistics().made == 0);
}

TEST_CASE("a kept file that was damaged is made anew") {
  CompressedNarsFixture fixture;
  const std::string text = body_text(fixture.respond());
  fixture.until_made();
  for (const auto& item : fs::directory_iterator(fixture.cache->directory())) {
    std::ofstream file(item.path(), std::ios::in | std::ios::out);
    file.seekp(1000);
    file << "damaged";
  }
  CHECK_FALSE(fixture.nars->ready(fixture.info, zstd));
  CHECK(body_text(fixture.respond()) == text);
  fixture.until_made(2);
  CHECK(fixture.nars->ready(fixture.info, zstd));
}

TEST_CASE("whoever follows a compression that begins in the background gets it in the foreground") {
  CompressedNarsFixture fixture(1 << 30, 40'000'000, 1);
  REQUIRE(fixture.nars->warm(fixture.info, compress::Compression::zstd,
                             narcache::NarCache::Clock::now()));
  // Once it has written something, the foreground continues from there.
  REQUIRE(test::eventually([&] {
    const fs::directory_iterator files(fixture.cache->directory());
    return std::any_of(begin(files), end(files), [](const fs::directory_entry& file) {
      std::error_code gone;
      return file.file_size(gone) > 0 && !gone;
    });
  }));
  const std::string text = body_text(fixture.respond());
  CHECK(decompress(text) == fixture.nar);
  fixture.until_made();
  CHECK(body_text(*fixture.nars->ready(fixture.info, zstd)) == text);
  CHECK(fixture.nars->statistics().made == 1);
  CHECK_FALSE(fixture.nars->warm(fixture.info, compress::Compression::zstd,
                                 narcache::NarCache::Clock::now()));
}

TEST_CASE("stopping cuts those who follow, and leaves nothing half-made") {
  for (const std::uint64_t limit : {std::uint64_t{0}, std::uint64_t{1} << 30}) {
    CAPTURE(limit);
    CompressedNarsFixture fixture(limit, 60'000'000, 1);
    const http::Response response = fixture.respond();
    std::atomic<bool> threw{false};
    std::atomic<bool> began{false};
    std::jthread client([&] {
      test::StringWriter writer;
      writer.on_bytes = [&] {
        began = true;
        ::usleep(2000);
      };
      try {
        test::run(std::get<http::StreamBody>(response.body).produce(writer, 0, UINT64_MAX));
      } catch (const std::exception&) {
        threw = true;
      }
    });
    REQUIRE(test::eventually([&] { return began.load(); }));
    fixture.nars->stop();
    client.join();
    CHECK(threw);
    CHECK_THROWS_AS(body_text(fixture.respond()), std::exception);
    if (limit > 0) CHECK(fs::is_empty(fixture.cache->directory()));
  }
}

TEST_CASE("a client that goes away ends its own stream") {
  CompressedNarsFixture fixture(0, 60'000'000, 1);
  const http::Response response = fixture.respond();
  test::StringWriter writer;
  writer.on_bytes = [] { throw http::ClientGone("gone"); };
  CHECK_THROWS_AS(
      test::run(std::get<http::StreamBody>(response.body).produce(writer, 0, UINT64_MAX)),
      http::ClientGone);
  // The only slot is free again.
  CHECK(decompress(body_text(fixture.respond())) == fixture.nar);
}

TEST_CASE("a slow client's own stream does not hold up others") {
  CompressedNarsFixture fixture(0, 20'000'000, 1);
  const http::Response response = fixture.respond();
  std::atomic<bool> release{false};
  std::atomic<bool> began{false};
  std::string slow_text;
  std::jthread slow([&] {
    test::StringWriter writer;
    writer.on_bytes = [&] {
      began = true;
      CHECK(test::eventually([&] { return release.load(); }));
    };
    test::run(std::get<http::StreamBody>(response.body).produce(writer, 0, UINT64_MAX));
    slow_text = writer.text;
  });
  REQUIRE(test::eventually([&] { return began.load(); }));
  const std::string text = body_text(fixture.respond());
  release = true;
  slow.join();
  CHECK(decompress(text) == fixture.nar);
  CHECK(slow_text == text);
}

TEST_CASE("clients that take nothing hold nobody up, and get theirs when they go on") {
  CompressedNarsFixture fixture(0, 20'000'000, 1);
  constexpr std::size_t count = 40;
  std::atomic<bool> release{false};
  std::atomic<std::size_t> began{0};
  std::vector<std::string> texts(count);
  std::vector<std::jthread> threads;
  for (std::string& text : texts) {
    threads.emplace_back([&] {
      const http::Response response = fixture.respond();
      test::StringWriter writer;
      writer.on_bytes = [&, first = true]() mutable {
        if (std::exchange(first, false)) ++began;
        CHECK(test::eventually([&] { return release.load(); }));
      };
      test::run(std::get<http::StreamBody>(response.body).produce(writer, 0, UINT64_MAX));
      text = std::move(writer.text);
    });
  }
  REQUIRE(test::eventually([&] { return began == count; }));
  const std::string whole = body_text(fixture.respond());
  CHECK(decompress(whole) == fixture.nar);
  release = true;
  threads.clear();
  for (const std::string& text : texts)
    CHECK(text == whole);
}

TEST_CASE("a path of which no NAR can be made is 404, and remembered") {
  CompressedNarsFixture fixture;
  const fs::path path = fixture.layout.real_path(fixture.path);
  fs::remove_all(path);
  fs::create_directory(path);
  std::ofstream(path / "a") << "content";
  REQUIRE(::mkfifo((path / "b").c_str(), 0644) == 0);
  CHECK(fixture.respond().status == 404);
  CHECK(fixture.unservable.contains(fixture.path));
}

TEST_CASE("what another recipe made is sent from its file, or only as a whole") {
  CompressedNarsFixture fixture;
  const std::string text = body_text(fixture.respond());
  fixture.until_made();
  compress::Recipe other = zstd;
  other.library += 1;
  SUBCASE("from its file") {
    const narcache::NarKey key{fixture.info.nar_hash, other};
    const auto writer = fixture.cache->create(key);
    writer->append("as it was");
    writer->commit(nix::sha256("as it was"));
    CHECK(body_text(test::run(fixture.nars->respond(fixture.info, other, true))) == "as it was");
  }
  SUBCASE("as a whole") {
    CHECK(test::run(fixture.nars->respond(fixture.info, other, true)).status == 404);
    const http::Response whole = test::run(fixture.nars->respond(fixture.info, other, false));
    CHECK_FALSE(whole.accept_ranges);
    CHECK(whole.cache_control == "no-store");
    CHECK(body_text(whole) == text);
  }
}

TEST_CASE("work that nobody waits for any more is dropped before it begins") {
  CompressedNarsFixture fixture(1 << 30, 60'000'000, 1);
  nix::PathInfo other = fixture.info;
  other.path = *nix::StorePath::parse("b3igw7z00yr0l7xscczsw50m6clmhi8k-other");
  std::ofstream(fixture.layout.real_path(other.path)) << "other";
  const std::string nar = nar_of(fixture.layout.real_path(other.path));
  other.nar_hash = nix::sha256(nar);
  other.nar_size = nar.size();
  boost::asio::io_context context;
  boost::asio::cancellation_signal leave;
  boost::asio::co_spawn(context, fixture.nars->respond(fixture.info, zstd, true),
                        [](std::exception_ptr, http::Response) {});
  boost::asio::co_spawn(
      context, fixture.nars->respond(other, zstd, true),
      boost::asio::bind_cancellation_slot(leave.slot(), [](std::exception_ptr, http::Response) {}));
  context.poll();
  leave.emit(boost::asio::cancellation_type::terminal);
  context.run();
  fixture.until_made();
  CHECK(test::eventually([&] { return fixture.nars->statistics().jobs.queued == 0; }));
  CHECK_FALSE(fixture.cache->find({other.nar_hash, zstd}));
  CHECK(fixture.cache->find({fixture.info.nar_hash, zstd}));
}
