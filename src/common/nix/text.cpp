#include "common/nix/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

#include "common/base/utf8.hpp"

namespace nixbuild::nix {

namespace {

constexpr std::size_t printable_limit = 80;

bool is_plain(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x7f && c != '"' && c != '\\';
}

void append_escaped(std::string& out, char c) {
  constexpr std::string_view digits = "0123456789abcdef";
  switch (c) {
    case '"':
      out += "\\\"";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '\b':
      out += "\\b";
      break;
    case '\f':
      out += "\\f";
      break;
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    default:
      out += "\\u00";
      out += digits[static_cast<unsigned char>(c) >> 4];
      out += digits[static_cast<unsigned char>(c) & 15];
  }
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const auto plain_end = std::find_if_not(text.begin(), text.end(), is_plain);
    const auto plain_size = static_cast<std::size_t>(plain_end - text.begin());
    out += text.substr(0, plain_size);
    text.remove_prefix(plain_size);
    if (text.empty()) break;
    std::size_t length = utf8::sequence_length(text);
    if (length == 0) {
      out += utf8::replacement;
      length = 1;
    } else if (length == 1 && text[0] != '\x7f') {
      append_escaped(out, text[0]);
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  out += '"';
}

void append_number(std::string& out, std::uint64_t number) {
  const fmt::format_int digits(number);
  out.append(digits.data(), digits.size());
}

std::string printable(std::string_view text) {
  std::string out;
  append_json_string(out, text.substr(0, printable_limit));
  if (text.size() > printable_limit) out += "…";
  return out;
}

}  // namespace nixbuild::nix
