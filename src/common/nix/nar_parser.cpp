#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "common/base/error.hpp"
#include "common/nix/nar.hpp"
#include "common/nix/text.hpp"

namespace nixbuild::nix {

namespace {

constexpr std::size_t keyword_limit = 16;  // the longest keyword, "nix-archive-1", has 13 bytes
// No file is larger, and offsets after a file of this size still fit.
constexpr std::uint64_t content_limit = std::numeric_limits<std::int64_t>::max();

std::size_t padding_of(std::uint64_t size) {
  return static_cast<std::size_t>((8 - size % 8) % 8);
}

std::uint64_t number_from(std::string_view bytes) {
  std::uint64_t number = 0;
  for (std::size_t i = 8; i-- > 0;)
    number = number << 8 | static_cast<unsigned char>(bytes[i]);
  return number;
}

bool is_entry_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == name.npos &&
         name.find('\0') == name.npos;
}

// What is expected next. Each state reads a size, that many bytes and padding, except file_content,
// which reads only the size and the padding this way.
enum class Wanted {
  magic,
  node_open,
  type_key,
  type,
  executable_or_contents,
  executable_value,
  contents_key,
  file_content,
  file_close,
  target_key,
  target,
  symlink_close,
  entry_or_close,
  entry_open,
  name_key,
  name,
  node_key,
  entry_close,
  nothing,
};

std::string_view describe(Wanted wanted) {
  switch (wanted) {
    case Wanted::magic:
      return "'nix-archive-1'";
    case Wanted::node_open:
    case Wanted::entry_open:
      return "'('";
    case Wanted::type_key:
      return "'type'";
    case Wanted::type:
      return "'regular', 'symlink' or 'directory'";
    case Wanted::executable_or_contents:
      return "'executable' or 'contents'";
    case Wanted::executable_value:
      return "an empty text behind 'executable'";
    case Wanted::contents_key:
      return "'contents'";
    case Wanted::file_content:
      return "the content of a file, below 2^63 bytes";
    case Wanted::target_key:
      return "'target'";
    case Wanted::target:
      return "the target of a symlink, 1 to 4095 bytes without NUL";
    case Wanted::entry_or_close:
      return "'entry' or ')'";
    case Wanted::name_key:
      return "'name'";
    case Wanted::name:
      return "a file name, 1 to 255 bytes without slash and NUL, not '.' or '..'";
    case Wanted::node_key:
      return "'node'";
    case Wanted::file_close:
    case Wanted::symlink_close:
    case Wanted::entry_close:
      return "')'";
    case Wanted::nothing:
      return "nothing more";
  }
  return "";
}

std::uint64_t size_limit(Wanted wanted) {
  switch (wanted) {
    case Wanted::file_content:
      return content_limit;
    case Wanted::name:
      return nar_name_limit;
    case Wanted::target:
      return nar_target_limit;
    default:
      return keyword_limit;
  }
}

}  // namespace

struct NarParser::State {
  explicit State(NarEvents& receiver) : events(receiver) {}

  enum class Part { size, text, content, padding };

  NarEvents& events;
  Wanted wanted = Wanted::magic;
  Part part = Part::size;
  std::uint64_t position = 0;  // bytes consumed
  std::uint64_t begin = 0;     // where the current item began
  std::uint64_t size = 0;      // of the current text or content, without padding
  std::uint64_t left = 0;      // of the current content
  std::string buffer;  // the first bytes of a number, text or padding that arrives in pieces
  bool executable = false;
  std::vector<std::string> last_names;  // one for each open directory
  bool usable = true;

  [[noreturn]] void fail(std::string_view found) const {
    throw FormatError(
        fmt::format("byte {} of the NAR: expected {}, found {}", begin, describe(wanted), found));
  }

  void feed(std::string_view bytes) {
    while (!bytes.empty()) {
      switch (part) {
        case Part::size:
          if (buffer.empty()) begin = position;
          if (wanted == Wanted::nothing) fail("more bytes");
          if (const std::string_view piece = take(bytes, 8); !piece.empty()) {
            size = number_from(piece);
            buffer.clear();
            size_read();
          }
          break;
        case Part::text:
          if (const std::string_view piece =
                  take(bytes, static_cast<std::size_t>(size) + padding_of(size));
              !piece.empty()) {
            check_padding(piece.substr(static_cast<std::size_t>(size)));
            part = Part::size;
            text_read(piece.substr(0, static_cast<std::size_t>(size)));
            buffer.clear();
          }
          break;
        case Part::content: {
          const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left, bytes.size()));
          position += count;
          left -= count;
          events.file_content(bytes.substr(0, count));
          bytes.remove_prefix(count);
          if (left == 0) content_read();
          break;
        }
        case Part::padding:
          if (const std::string_view piece = take(bytes, padding_of(size)); !piece.empty()) {
            check_padding(piece);
            part = Part::size;
            buffer.clear();
          }
          break;
      }
    }
  }

  // The next `count` bytes (not 0) in one piece, from `bytes` or, if they are spread over several
  // feeds, from the buffer. Empty while some are missing.
  std::string_view take(std::string_view& bytes, std::size_t count) {
    if (buffer.empty() && bytes.size() >= count) {
      const std::string_view piece = bytes.substr(0, count);
      bytes.remove_prefix(count);
      position += count;
      return piece;
    }
    const std::size_t more = std::min(count - buffer.size(), bytes.size());
    buffer += bytes.substr(0, more);
    bytes.remove_prefix(more);
    position += more;
    return buffer.size() == count ? std::string_view(buffer) : std::string_view();
  }

  void check_padding(std::string_view padding) const {
    if (std::any_of(padding.begin(), padding.end(), [](char c) { return c != '\0'; }))
      throw FormatError(fmt::format("byte {} of the NAR: its padding is not zero", begin));
  }

  void size_read() {
    if (size > size_limit(wanted)) fail(fmt::format("{} bytes", size));
    if (wanted == Wanted::file_content) {
      events.begin_file(executable, size, position);
      left = size;
      part = Part::content;
      if (left == 0) content_read();
    } else if (size == 0) {
      text_read({});
    } else {
      part = Part::text;
    }
  }

  void content_read() {
    part = padding_of(size) == 0 ? Part::size : Part::padding;
    wanted = Wanted::file_close;
  }

  void text_read(std::string_view text) {
    switch (wanted) {
      case Wanted::magic:
        keyword(text, "nix-archive-1", Wanted::node_open);
        break;
      case Wanted::node_open:
        keyword(text, "(", Wanted::type_key);
        break;
      case Wanted::type_key:
        keyword(text, "type", Wanted::type);
        break;
      case Wanted::type:
        type(text);
        break;
      case Wanted::executable_or_contents:
        executable = text == "executable";
        if (executable)
          wanted = Wanted::executable_value;
        else
          keyword(text, "contents", Wanted::file_content);
        break;
      case Wanted::executable_value:
        keyword(text, "", Wanted::contents_key);
        break;
      case Wanted::contents_key:
        keyword(text, "contents", Wanted::file_content);
        break;
      case Wanted::file_close:
        keyword(text, ")", Wanted::nothing);
        events.end_file();
        node_read();
        break;
      case Wanted::target_key:
        keyword(text, "target", Wanted::target);
        break;
      case Wanted::target:
        if (text.empty() || text.find('\0') != text.npos) fail(printable(text));
        events.symlink(text);
        wanted = Wanted::symlink_close;
        break;
      case Wanted::symlink_close:
        keyword(text, ")", Wanted::nothing);
        node_read();
        break;
      case Wanted::entry_or_close:
        if (text == ")") {
          events.end_directory();
          last_names.pop_back();
          node_read();
        } else {
          keyword(text, "entry", Wanted::entry_open);
        }
        break;
      case Wanted::entry_open:
        keyword(text, "(", Wanted::name_key);
        break;
      case Wanted::name_key:
        keyword(text, "name", Wanted::name);
        break;
      case Wanted::name:
        name(text);
        break;
      case Wanted::node_key:
        keyword(text, "node", Wanted::node_open);
        break;
      case Wanted::entry_close:
        keyword(text, ")", Wanted::entry_or_close);
        events.end_entry();
        break;
      case Wanted::file_content:
      case Wanted::nothing:
        break;  // not a text
    }
  }

  void keyword(std::string_view text, std::string_view expected, Wanted next) {
    if (text != expected) fail(printable(text));
    wanted = next;
  }

  void type(std::string_view text) {
    if (text == "regular") {
      wanted = Wanted::executable_or_contents;
    } else if (text == "symlink") {
      wanted = Wanted::target_key;
    } else if (text == "directory") {
      if (last_names.size() == nar_depth_limit)
        throw FormatError(fmt::format("byte {} of the NAR: it lies more than {} directories deep",
                                      begin, nar_depth_limit));
      last_names.emplace_back();
      events.begin_directory();
      wanted = Wanted::entry_or_close;
    } else {
      fail(printable(text));
    }
  }

  void name(std::string_view text) {
    if (!is_entry_name(text)) fail(printable(text));
    std::string& last_name = last_names.back();
    if (text <= last_name)
      throw FormatError(
          fmt::format("byte {} of the NAR: the entry {} comes behind {}: they are not sorted",
                      begin, printable(text), printable(last_name)));
    last_name = text;
    events.begin_entry(text);
    wanted = Wanted::node_key;
  }

  // An object is complete: the whole NAR, or an entry.
  void node_read() { wanted = last_names.empty() ? Wanted::nothing : Wanted::entry_close; }
};

NarParser::NarParser(NarEvents& events) : state_(std::make_unique<State>(events)) {}
NarParser::~NarParser() = default;
NarParser::NarParser(NarParser&&) noexcept = default;
NarParser& NarParser::operator=(NarParser&&) noexcept = default;

void NarParser::feed(std::string_view bytes) {
  if (!state_->usable) throw FormatError("the NAR was already found to be malformed");
  state_->usable = false;  // stays false if an exception is thrown
  state_->feed(bytes);
  state_->usable = true;
}

void NarParser::finish() {
  if (!state_->usable) throw FormatError("the NAR was already found to be malformed");
  if (state_->wanted != Wanted::nothing)
    throw FormatError(fmt::format("the NAR ends at byte {}, before it is complete: expected {}",
                                  state_->position, describe(state_->wanted)));
}

}  // namespace nixbuild::nix
