// NARs: accepted input is byte for byte what would be written for the same tree, and how it is cut
// into pieces changes nothing. The first byte chooses how it is cut.
#include "common/nix/nar.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "check.hpp"
#include "common/base/error.hpp"

using namespace nixbuild;
using namespace nixbuild::nix;

namespace {

// Writes a NAR from events.
class Writer : public NarEvents {
 public:
  Writer() { nar_framing::magic(nar); }

  void begin_file(bool executable, std::uint64_t size, std::uint64_t offset) override {
    nar_framing::begin_file(nar, executable, size);
    CHECK(nar.size() == offset);
    size_ = size;
    content_end_ = offset + size;
  }
  void file_content(std::string_view bytes) override {
    nar += bytes;
    CHECK(nar.size() <= content_end_);
  }
  void end_file() override {
    CHECK(nar.size() == content_end_);
    nar_framing::end_file(nar, size_);
  }
  void symlink(std::string_view target) override { nar_framing::symlink(nar, target); }
  void begin_directory() override { nar_framing::begin_directory(nar); }
  void begin_entry(std::string_view name) override { nar_framing::begin_entry(nar, name); }
  void end_entry() override { nar_framing::end_entry(nar); }
  void end_directory() override { nar_framing::end_directory(nar); }

  std::string nar;

 private:
  std::uint64_t size_ = 0;
  std::uint64_t content_end_ = 0;
};

// The error, or nothing.
std::optional<std::string> parse(std::string_view nar, std::size_t piece, NarEvents& events) {
  try {
    NarParser parser(events);
    for (std::size_t at = 0; at < nar.size(); at += piece)
      parser.feed(nar.substr(at, piece));
    parser.finish();
    return std::nullopt;
  } catch (const FormatError& error) {
    return error.what();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = std::max<std::size_t>(data[0], 1);
  const std::string_view nar(reinterpret_cast<const char*>(data) + 1, size - 1);

  Writer whole;
  const auto error = parse(nar, std::max<std::size_t>(nar.size(), 1), whole);
  Writer cut;
  CHECK(parse(nar, piece, cut) == error);
  CHECK(cut.nar == whole.nar);
  if (!error) {
    CHECK(whole.nar == nar);
    NarListingBuilder builder;
    CHECK(!parse(nar, piece, builder));
    CHECK(nlohmann::json::accept(render_nar_listing(builder.take())));
  }
  return 0;
}
