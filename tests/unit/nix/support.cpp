#include "support.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <stdexcept>

namespace fs = std::filesystem;

namespace nixbuild::nix::test {

std::vector<fs::path> vector_sets() {
  std::vector<fs::path> sets;
  for (const auto& entry : fs::directory_iterator(NIX_VECTORS))
    sets.push_back(entry.path());
  std::sort(sets.begin(), sets.end());
  if (sets.empty()) throw std::runtime_error("there are no vectors in " NIX_VECTORS);
  return sets;
}

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot open " + path.string());
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<std::string> lines_of(const fs::path& path) {
  std::istringstream text(content_of(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);)
    lines.push_back(line);
  return lines;
}

std::vector<std::string> words_of(std::string_view line) {
  std::istringstream text{std::string(line)};
  return {std::istream_iterator<std::string>(text), std::istream_iterator<std::string>()};
}

void write(const fs::path& path, std::string_view content, bool executable) {
  std::ofstream(path, std::ios::binary) << content;
  ::chmod(path.c_str(), executable ? 0755 : 0644);
}

std::string dump(const fs::path& path) {
  std::string nar;
  dump_nar(path, [&](std::string_view bytes) {
    CHECK_FALSE(bytes.empty());
    CHECK(bytes.size() <= std::size_t{256} << 10);
    nar += bytes;
  });
  return nar;
}

void parse(std::string_view nar, NarEvents& events, std::size_t piece) {
  NarParser parser(events);
  while (!nar.empty()) {
    const std::string_view bytes = nar.substr(0, piece);
    // A copy of exactly these bytes, so that a sanitizer sees a read beyond them.
    const std::vector<char> copy(bytes.begin(), bytes.end());
    parser.feed(std::string_view(copy.data(), copy.size()));
    nar.remove_prefix(bytes.size());
  }
  parser.finish();
}

NarListing listing_of(std::string_view nar, std::size_t piece) {
  NarListingBuilder builder;
  parse(nar, builder, piece);
  return builder.take();
}

namespace {

class Restorer : public NarEvents {
 public:
  explicit Restorer(fs::path to) : path_(std::move(to)) {}

  void begin_file(bool executable, std::uint64_t, std::uint64_t) override {
    executable_ = executable;
    content_.clear();
  }
  void file_content(std::string_view bytes) override { content_ += bytes; }
  void end_file() override { write(path_, content_, executable_); }
  void symlink(std::string_view target) override { fs::create_symlink(std::string(target), path_); }
  void begin_directory() override { fs::create_directory(path_); }
  void begin_entry(std::string_view name) override { path_ /= name; }
  void end_entry() override { path_ = path_.parent_path(); }
  void end_directory() override {}

 private:
  fs::path path_;
  bool executable_ = false;
  std::string content_;
};

std::string node_by_definition(const fs::path& path) {
  const fs::file_status status = fs::symlink_status(path);
  if (fs::is_symlink(status))
    return nar_words("(", "type", "symlink", "target", fs::read_symlink(path).native(), ")");
  if (fs::is_directory(status)) {
    std::set<std::string> names;  // compares bytes as unsigned
    for (const auto& entry : fs::directory_iterator(path))
      names.insert(entry.path().filename().native());
    std::string nar = nar_words("(", "type", "directory");
    for (const std::string& name : names)
      nar += nar_words("entry", "(", "name", name, "node") + node_by_definition(path / name) +
             nar_word(")");
    return nar + nar_word(")");
  }
  const bool executable = (status.permissions() & fs::perms::owner_exec) != fs::perms::none;
  return nar_words("(", "type", "regular") + (executable ? nar_words("executable", "") : "") +
         nar_words("contents", content_of(path), ")");
}

}  // namespace

void restore(std::string_view nar, const fs::path& to) {
  Restorer restorer(to);
  parse(nar, restorer);
}

std::string nar_word(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < 8; ++i)
    out += static_cast<char>(text.size() >> (8 * i));
  out += text;
  while (out.size() % 8 != 0)
    out += '\0';
  return out;
}

std::string nar_by_definition(const fs::path& path) {
  return nar_word("nix-archive-1") + node_by_definition(path);
}

}  // namespace nixbuild::nix::test
