// NAR, the Nix archive: one file system object as a stream of bytes, the same for the same content.
// Source: the Nix manual, "Nix Archive (NAR) format".
//
//   NarFraming   the literal bytes between file contents, for whoever sends contents by itself
//   dump_nar     a file system object, as NAR, to a sink
//   NarParser    a NAR, as events, from pieces of any size
//   NarListing   the tree of a NAR with each file's size and where its content begins
//
// Both ways are bounded. The lengths are those that Nix accepts; Nix itself has accepted trees no
// deeper than 64 directories since 2.35, before it as deep as a path could be long.
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
constexpr std::size_t nar_depth_limit = 2048;   // directories within each other

// Each function appends to `out`. A NAR is magic() and one node; a node is a file, a symlink or a
// directory, whose entries come in the order of their names' bytes.
namespace nar_framing {
void magic(std::string& out);
void string(std::string& out, std::string_view text);
// A regular file is this, `size` bytes of content, end_file().
void begin_file(std::string& out, bool executable, std::uint64_t size);
void end_file(std::string& out, std::uint64_t size);
void symlink(std::string& out, std::string_view target);
void begin_directory(std::string& out);
void begin_entry(std::string& out, std::string_view name);  // then the entry's node
void end_entry(std::string& out);
void end_directory(std::string& out);
}  // namespace nar_framing

using NarSink = std::function<void(std::string_view bytes)>;

// Writes the NAR of `path` (not followed when it is a symlink) to `sink`, in pieces of at most
// 256 KiB. Holds one descriptor a directory on the way down. Throws SystemError, and Error where a
// file changes its size meanwhile or is of a kind that a NAR cannot hold.
void dump_nar(const std::filesystem::path& path, const NarSink& sink);

// What a NarParser reports, in the order of the archive.
class NarEvents {
 public:
  virtual ~NarEvents() = default;
  // `offset`: where in the NAR the content begins, in bytes.
  virtual void begin_file(bool executable, std::uint64_t size, std::uint64_t offset) = 0;
  virtual void file_content(std::string_view bytes) = 0;
  virtual void end_file() = 0;
  virtual void symlink(std::string_view target) = 0;
  virtual void begin_directory() = 0;
  virtual void begin_entry(std::string_view name) = 0;
  virtual void end_entry() = 0;
  virtual void end_directory() = 0;
};

// Reads a NAR given in pieces. Memory is bounded by the longest name or symlink target that a NAR
// may hold and its deepest directory, whatever the input says.
class NarParser {
 public:
  explicit NarParser(NarEvents& events);
  ~NarParser();
  NarParser(NarParser&&) noexcept;
  NarParser& operator=(NarParser&&) noexcept;

  // Throws FormatError saying at which byte what was expected. After that, or after an exception of
  // the events, the parser takes nothing more.
  void feed(std::string_view bytes);
  // Throws FormatError when the archive is not complete.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// One node of a listing.
struct NarListing {
  enum class Type { regular, symlink, directory };
  Type type = Type::regular;
  std::uint64_t size = 0;        // regular: bytes
  bool executable = false;       // regular
  std::uint64_t nar_offset = 0;  // regular: where its content begins in the NAR, in bytes
  std::string target;            // symlink
  std::map<std::string, NarListing> entries;  // directory

  friend bool operator==(const NarListing&, const NarListing&) = default;
};

// Makes a listing of the events of one NAR.
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

  // Once, when the NAR was complete.
  NarListing take();

 private:
  NarListing root_;
  std::vector<NarListing*> open_;  // from root_ down to the node that is being described
};

// The listing of the NAR that dump_nar(path) writes, without reading file contents. Throws
// SystemError.
NarListing list_nar_of(const std::filesystem::path& path);

// The content of a .ls file, {"root":{…},"version":1}, to the byte as Nix 2.26 writes it. Names and
// targets that are not UTF-8, with which 2.26 gives up and of which 2.8 makes invalid JSON, have
// U+FFFD for each byte that is wrong; two names that differ only there become the same key twice.
std::string render_nar_listing(const NarListing& root);

}  // namespace nixbuild::nix
