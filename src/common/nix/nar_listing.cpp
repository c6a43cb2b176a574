#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>

#include "common/base/error.hpp"
#include "common/nix/nar.hpp"
#include "common/nix/nar_walk.hpp"
#include "common/nix/text.hpp"

namespace nixbuild::nix {

namespace {

// Drives a NarListingBuilder from a tree. Content offsets are found by generating the framing
// before them and counting its bytes.
class Lister : public TreeVisitor {
 public:
  explicit Lister(NarListingBuilder& builder) : builder_(builder) {
    framing_.reserve(512);
    nar_framing::magic(framing_);
  }

  void regular(int dir_fd, const char* name, const std::string& path) override {
    struct stat status {};
    if (::fstatat(dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
      throw SystemError(errno, fmt::format("cannot examine '{}'", path));
    const bool executable = (status.st_mode & S_IXUSR) != 0;
    const auto size = static_cast<std::uint64_t>(status.st_size);
    nar_framing::begin_file(framing_, executable, size);
    count_framing();
    builder_.begin_file(executable, size, offset_);
    builder_.end_file();
    offset_ += size;
    nar_framing::end_file(framing_, size);
  }

  void symlink(std::string_view target) override {
    nar_framing::symlink(framing_, target);
    builder_.symlink(target);
  }
  void begin_directory() override {
    nar_framing::begin_directory(framing_);
    builder_.begin_directory();
  }
  void begin_entry(std::string_view name) override {
    nar_framing::begin_entry(framing_, name);
    count_framing();
    builder_.begin_entry(name);
  }
  void end_entry() override {
    nar_framing::end_entry(framing_);
    count_framing();
    builder_.end_entry();
  }
  void end_directory() override {
    nar_framing::end_directory(framing_);
    builder_.end_directory();
  }

 private:
  void count_framing() {
    offset_ += framing_.size();
    framing_.clear();
  }

  NarListingBuilder& builder_;
  std::string framing_;       // not counted yet
  std::uint64_t offset_ = 0;  // of what has been counted
};

void append_listing(std::string& out, const NarListing& node) {
  switch (node.type) {
    case NarListing::Type::regular:
      out += '{';
      if (node.executable) out += "\"executable\":true,";
      out += "\"narOffset\":";
      append_number(out, node.nar_offset);
      out += ",\"size\":";
      append_number(out, node.size);
      out += ",\"type\":\"regular\"}";
      break;
    case NarListing::Type::symlink:
      out += "{\"target\":";
      append_json_string(out, node.target);
      out += ",\"type\":\"symlink\"}";
      break;
    case NarListing::Type::directory:
      out += "{\"entries\":{";
      for (const auto& [name, entry] : node.entries) {
        append_json_string(out, name);
        out += ':';
        append_listing(out, entry);
        out += ',';
      }
      if (!node.entries.empty()) out.pop_back();
      out += "},\"type\":\"directory\"}";
      break;
  }
}

}  // namespace

NarListingBuilder::NarListingBuilder() : open_{&root_} {}

void NarListingBuilder::begin_file(bool executable, std::uint64_t size, std::uint64_t offset) {
  NarListing& node = *open_.back();
  node.type = NarListing::Type::regular;
  node.executable = executable;
  node.size = size;
  node.nar_offset = offset;
}

void NarListingBuilder::symlink(std::string_view target) {
  open_.back()->type = NarListing::Type::symlink;
  open_.back()->target = target;
}

void NarListingBuilder::begin_directory() {
  open_.back()->type = NarListing::Type::directory;
}

void NarListingBuilder::begin_entry(std::string_view name) {
  auto& entries = open_.back()->entries;
  open_.push_back(&entries.try_emplace(entries.end(), std::string(name))->second);
}

void NarListingBuilder::end_entry() {
  open_.pop_back();
}

NarListing NarListingBuilder::take() {
  return std::move(root_);
}

NarListing list_nar_of(const std::filesystem::path& path) {
  NarListingBuilder builder;
  Lister lister(builder);
  walk_tree(path, lister);
  return builder.take();
}

std::string render_nar_listing(const NarListing& root) {
  std::string out = "{\"root\":";
  append_listing(out, root);
  out += ",\"version\":1}";
  return out;
}

}  // namespace nixbuild::nix
