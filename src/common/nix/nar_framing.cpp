#include <array>
#include <cstddef>

#include "common/nix/nar.hpp"

namespace nixbuild::nix::nar_framing {

namespace {

constexpr std::size_t padded(std::size_t size) {
  return (size + 7) / 8 * 8;
}

void append_size(std::string& out, std::uint64_t number) {
  std::array<char, 8> bytes{};
  for (char& byte : bytes) {
    byte = static_cast<char>(number & 0xff);
    number >>= 8;
  }
  out.append(bytes.data(), bytes.size());
}

void append_padding(std::string& out, std::uint64_t size) {
  out.append((8 - size % 8) % 8, '\0');
}

// A word of a NAR: length, bytes, padding. N includes the literal's final NUL.
template <std::size_t N>
constexpr auto word(const char (&text)[N]) {
  std::array<char, 8 + padded(N - 1)> bytes{};
  static_assert(N - 1 < 256);
  bytes[0] = static_cast<char>(N - 1);
  for (std::size_t i = 0; i + 1 < N; ++i)
    bytes[8 + i] = text[i];
  return bytes;
}

template <std::size_t... Sizes>
constexpr auto words(const std::array<char, Sizes>&... parts) {
  std::array<char, (Sizes + ...)> bytes{};
  std::size_t position = 0;
  const auto append = [&](const auto& part) {
    for (const char byte : part)
      bytes[position++] = byte;
  };
  (append(parts), ...);
  return bytes;
}

// The constant parts of a NAR, built at compile time and appended as a whole.
constexpr auto magic_words = word("nix-archive-1");
constexpr auto plain_file_words = words(word("("), word("type"), word("regular"), word("contents"));
constexpr auto executable_file_words =
    words(word("("), word("type"), word("regular"), word("executable"), word(""), word("contents"));
constexpr auto symlink_words = words(word("("), word("type"), word("symlink"), word("target"));
constexpr auto directory_words = words(word("("), word("type"), word("directory"));
constexpr auto entry_words = words(word("entry"), word("("), word("name"));
constexpr auto node_word = word("node");
constexpr auto close_word = word(")");

template <std::size_t N>
void append(std::string& out, const std::array<char, N>& bytes) {
  out.append(bytes.data(), N);
}

}  // namespace

void magic(std::string& out) {
  append(out, magic_words);
}

void string(std::string& out, std::string_view text) {
  append_size(out, text.size());
  out += text;
  append_padding(out, text.size());
}

void begin_file(std::string& out, bool executable, std::uint64_t size) {
  if (executable)
    append(out, executable_file_words);
  else
    append(out, plain_file_words);
  append_size(out, size);
}

void end_file(std::string& out, std::uint64_t size) {
  append_padding(out, size);
  append(out, close_word);
}

void symlink(std::string& out, std::string_view target) {
  append(out, symlink_words);
  string(out, target);
  append(out, close_word);
}

void begin_directory(std::string& out) {
  append(out, directory_words);
}

void begin_entry(std::string& out, std::string_view name) {
  append(out, entry_words);
  string(out, name);
  append(out, node_word);
}

void end_entry(std::string& out) {
  append(out, close_word);
}

void end_directory(std::string& out) {
  append(out, close_word);
}

}  // namespace nixbuild::nix::nar_framing
