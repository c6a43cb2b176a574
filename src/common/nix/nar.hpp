// NAR, the Nix archive: a file system object as a stream of bytes that depends only on its content.
// Source: the Nix manual, "Nix Archive (NAR) format".
//
//   NarFraming   the bytes around file contents, for callers that send contents themselves
//   dump_nar     writes a file system object to a sink as NAR
//   NarParser    parses a NAR, in pieces of any size, into events
//   NarListing   the tree of a NAR with each file's size and content offset
//
// Reading and writing are bounded. The length limits are Nix's own. Since 2.35, Nix accepts trees
// of at most 64 nested directories; before, the length of a path was the only limit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace nixbuild::nix {

constexpr std::size_t nar_name_limit = 255;     // bytes of an entry's name
constexpr std::size_t nar_target_limit = 4095;  // bytes of a symlink's target
constexpr std::size_t nar_depth_limit = 2048;   // nested directories

// Each function appends to `out`. A NAR is magic() and one node. A node is a file, a symlink or a
// directory; a directory's entries are sorted by the bytes of their names.
namespace nar_framing {
void magic(std::string& out);
void string(std::string& out, std::string_view text);
// A regular file is this call, `size` bytes of content, and end_file().
void begin_file(std::string& out, bool executable, std::uint64_t size);
void end_file(std::string& out, std::uint64_t size);
void symlink(std::string& out, std::string_view target);
void begin_directory(std::string& out);
void begin_entry(std::string& out, std::string_view name);  // followed by the entry's node
void end_entry(std::string& out);
void end_directory(std::string& out);
}  // namespace nar_framing

using NarSink = std::function<void(std::string_view bytes)>;

// Writes the NAR of `path` (a symlink is not followed) to `sink`, in pieces of at most 256 KiB.
// Uses one descriptor for each directory level. Throws SystemError, and Error if a file changes its
// size meanwhile or has a type that a NAR cannot contain.
void dump_nar(const std::filesystem::path& path, const NarSink& sink);

// Events of a NarParser, in the order of the archive.
class NarEvents {
 public:
  virtual ~NarEvents() = default;
  // `offset`: where the content begins in the NAR, in bytes.
  virtual void begin_file(bool executable, std::uint64_t size, std::uint64_t offset) = 0;
  virtual void file_content(std::string_view bytes) = 0;
  virtual void end_file() = 0;
  virtual void symlink(std::string_view target) = 0;
  virtual void begin_directory() = 0;
  virtual void begin_entry(std::string_view name) = 0;
  virtual void end_entry() = 0;
  virtual void end_directory() = 0;
};

// Parses a NAR in pieces. Memory use is bounded by the limits on names, symlink targets and depth,
// whatever the input is.
class NarParser {
 public:
  explicit NarParser(NarEvents& events);
  ~NarParser();
  NarParser(NarParser&&) noexcept;
  NarParser& operator=(NarParser&&) noexcept;

  // Throws FormatError with the byte offset and what was expected. After an exception, also one
  // from the events, the parser accepts no more input.
  void feed(std::string_view bytes);
  // Throws FormatError if the archive is incomplete.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// One node of a listing.
struct NarListing {
  enum class Type { regular, symlink, directory };
  Type type = Type::regular;
  std::uint64_t size = 0;                     // regular: bytes
  bool executable = false;                    // regular
  std::uint64_t nar_offset = 0;               // regular: offset of its content in the NAR, in bytes
  std::string target;                         // symlink
  std::map<std::string, NarListing> entries;  // directory

  friend bool operator==(const NarListing&, const NarListing&) = default;
};

// Builds a listing from the events of one NAR.
class NarListingBuilder : public NarEvents {
 public:
  NarListingBuilder();
  NarListingBuilder(const NarListingBuilder&) = delete;
  NarListingBuilder& operator=(const NarListingBuilder&) = delete;

  void begin_file(bool executable, std::uint64_t size, std::uint64_t offset) override;
  void file_content(std::string_view) override {}
  void end_file() override {}
  void symlink(std::string_view target) override;
  void begin_directory() override;
  void begin_entry(std::string_view name) override;
  void end_entry() override;
  void end_directory() override {}

  // To be called once, after the NAR is complete.
  NarListing take();

 private:
  NarListing root_;
  std::vector<NarListing*> open_;  // from root_ down to the current node
};

// The listing of the NAR that dump_nar(path) writes, without reading file contents. Throws
// SystemError.
NarListing list_nar_of(const std::filesystem::path& path);

// The content of a .ls file, {"root":{…},"version":1}, byte for byte as Nix 2.26 writes it. In
// names and targets that are not UTF-8, each invalid byte becomes U+FFFD (Nix 2.26 fails on them,
// 2.8 writes invalid JSON); two names that differ only there become duplicate keys.
std::string render_nar_listing(const NarListing& root);

}  // namespace nixbuild::nix
