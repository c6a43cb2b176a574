#include "common/nix/narinfo.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "common/base/error.hpp"
#include "common/nix/base32.hpp"
#include "common/nix/text.hpp"

namespace nixbuild::nix {

namespace {

// The compression that Nix assumes if the field is missing.
constexpr std::string_view default_compression = "bzip2";
// Allowed in the field Deriver instead of a path.
constexpr std::string_view unknown_deriver = "unknown-deriver";

FormatError bad_value(std::string_view value, std::string_view wanted) {
  return FormatError(fmt::format("{} is not {}", printable(value), wanted));
}

std::uint64_t parse_number(std::string_view value) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size())
    throw bad_value(value, "a decimal number below 2^64");
  return number;
}

Sha256 parse_hash(std::string_view value) {
  // Without the name of its algorithm, the value would be ambiguous.
  const auto hash = value.starts_with("sha256") ? Sha256::parse(value) : std::nullopt;
  if (!hash) throw bad_value(value, "a SHA-256 such as sha256:<52 characters of base-32>");
  return *hash;
}

StorePath parse_base_name(std::string_view value) {
  auto path = StorePath::parse(value);
  if (!path) throw bad_value(value, "a store path without its directory");
  return std::move(*path);
}

std::string parse_text(std::string_view value) {
  if (std::any_of(value.begin(), value.end(),
                  [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; }))
    throw bad_value(value, "free of control characters");
  return std::string(value);
}

std::vector<StorePath> parse_references(std::string_view value) {
  std::vector<StorePath> references;
  while (!value.empty()) {
    const std::string_view word = value.substr(0, value.find(' '));
    value.remove_prefix(std::min(value.size(), word.size() + 1));
    if (!word.empty()) references.push_back(parse_base_name(word));
  }
  std::sort(references.begin(), references.end());
  references.erase(std::unique(references.begin(), references.end()), references.end());
  return references;
}

template <typename T>
void set_once(std::optional<T>& field, T value) {
  if (field) throw FormatError("the field is there a second time");
  field = std::move(value);
}

template <typename T>
T& required(std::optional<T>& field, std::string_view name) {
  if (!field) throw FormatError(fmt::format("the narinfo has no field {}", name));
  return *field;
}

struct Fields {
  std::optional<StorePath> path;
  std::optional<std::string> url;
  std::optional<std::string> compression;
  std::optional<Sha256> file_hash;
  std::optional<std::uint64_t> file_size;
  std::optional<Sha256> nar_hash;
  std::optional<std::uint64_t> nar_size;
  std::optional<std::vector<StorePath>> references;
  std::optional<std::optional<StorePath>> deriver;
  std::vector<std::string> signatures;
  std::optional<std::string> content_address;

  void set(const StoreDir& store_dir, std::string_view name, std::string_view value) {
    if (name == "StorePath") {
      const auto parsed = store_dir.parse(value);
      if (!parsed) throw bad_value(value, fmt::format("a path of the store {}", store_dir.path()));
      set_once(path, *parsed);
    } else if (name == "URL") {
      if (value.empty()) throw FormatError("the URL is empty");
      set_once(url, parse_text(value));
    } else if (name == "Compression") {
      set_once(compression, parse_text(value));
    } else if (name == "FileHash") {
      set_once(file_hash, parse_hash(value));
    } else if (name == "FileSize") {
      set_once(file_size, parse_number(value));
    } else if (name == "NarHash") {
      set_once(nar_hash, parse_hash(value));
    } else if (name == "NarSize") {
      const std::uint64_t size = parse_number(value);
      if (size == 0) throw FormatError("the NAR cannot be empty");
      set_once(nar_size, size);
    } else if (name == "References") {
      set_once(references, parse_references(value));
    } else if (name == "Deriver") {
      set_once(deriver,
               value == unknown_deriver ? std::nullopt : std::optional(parse_base_name(value)));
    } else if (name == "Sig") {
      const std::size_t colon = value.find(':');
      if (colon == value.npos || colon == 0 || colon + 1 == value.size())
        throw bad_value(value, "a signature of the form NAME:BASE64");
      signatures.push_back(parse_text(value));
    } else if (name == "CA") {
      set_once(content_address, parse_text(value));
    }
  }

  NarInfo finish() && {
    if (!compression || compression->empty()) compression = default_compression;
    return NarInfo{
        .info =
            PathInfo{
                .path = std::move(required(path, "StorePath")),
                .nar_hash = required(nar_hash, "NarHash"),
                .nar_size = required(nar_size, "NarSize"),
                .references = std::move(references).value_or(std::vector<StorePath>()),
                .deriver = std::move(deriver).value_or(std::nullopt),
                .signatures = std::move(signatures),
                .content_address = std::move(content_address).value_or(std::string()),
            },
        .url = std::move(required(url, "URL")),
        .compression = std::move(*compression),
        .file_hash = file_hash,
        .file_size = file_size,
    };
  }
};

void set_line(Fields& fields, const StoreDir& store_dir, std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == line.npos || colon == 0 || !line.substr(colon + 1).starts_with(' '))
    throw bad_value(line, "of the form 'Field: value'");
  fields.set(store_dir, line.substr(0, colon), line.substr(colon + 2));
}

}  // namespace

std::string render_narinfo(const StoreDir& store_dir, const NarInfo& narinfo) {
  const PathInfo& info = narinfo.info;
  // Field names, the two hashes and the numbers take less than 320 bytes.
  std::size_t size = 320 + store_dir.path().size() + info.path.base_name().size() +
                     narinfo.url.size() + narinfo.compression.size() + info.content_address.size();
  for (const StorePath& reference : info.references)
    size += reference.base_name().size() + 1;
  if (info.deriver) size += info.deriver->base_name().size();
  for (const std::string& signature : info.signatures)
    size += signature.size() + 6;

  std::string text;
  text.reserve(size);
  text += "StorePath: ";
  text += store_dir.path();
  text += '/';
  text += info.path.base_name();
  text += "\nURL: ";
  text += narinfo.url;
  text += "\nCompression: ";
  text += narinfo.compression;
  if (narinfo.file_hash) {
    text += "\nFileHash: sha256:";
    append_base32(text, narinfo.file_hash->bytes);
  }
  if (narinfo.file_size) {
    text += "\nFileSize: ";
    append_number(text, *narinfo.file_size);
  }
  text += "\nNarHash: sha256:";
  append_base32(text, info.nar_hash.bytes);
  text += "\nNarSize: ";
  append_number(text, info.nar_size);
  text += "\nReferences: ";
  for (const StorePath& reference : info.references) {
    text += reference.base_name();
    text += ' ';
  }
  if (!info.references.empty()) text.pop_back();
  if (info.deriver) {
    text += "\nDeriver: ";
    text += info.deriver->base_name();
  }
  for (const std::string& signature : info.signatures) {
    text += "\nSig: ";
    text += signature;
  }
  if (!info.content_address.empty()) {
    text += "\nCA: ";
    text += info.content_address;
  }
  text += '\n';
  return text;
}

std::string render_narinfo_json(const StoreDir& store_dir, const NarInfo& narinfo) {
  const PathInfo& info = narinfo.info;
  std::string text;
  const auto key = [&](std::string_view name) {
    text += text.empty() ? "{\"" : ",\"";
    text += name;
    text += "\":";
  };
  const auto string_or_null = [&](const std::optional<std::string>& value) {
    if (value)
      append_json_string(text, *value);
    else
      text += "null";
  };
  key("ca");
  string_or_null(info.content_address.empty() ? std::nullopt : std::optional(info.content_address));
  key("compression");
  append_json_string(text, narinfo.compression);
  key("deriver");
  string_or_null(info.deriver ? std::optional(store_dir.print(*info.deriver)) : std::nullopt);
  if (narinfo.file_hash) {
    key("downloadHash");
    append_json_string(text, narinfo.file_hash->sri());
  }
  if (narinfo.file_size) {
    key("downloadSize");
    append_number(text, *narinfo.file_size);
  }
  key("narHash");
  append_json_string(text, info.nar_hash.sri());
  key("narSize");
  append_number(text, info.nar_size);
  key("path");
  append_json_string(text, store_dir.print(info.path));
  key("references");
  text += '[';
  for (const StorePath& reference : info.references) {
    if (text.back() != '[') text += ',';
    append_json_string(text, store_dir.print(reference));
  }
  text += ']';
  key("registrationTime");
  text += "null";
  key("signatures");
  text += '[';
  for (const std::string& signature : info.signatures) {
    if (text.back() != '[') text += ',';
    append_json_string(text, signature);
  }
  text += ']';
  key("storeDir");
  append_json_string(text, store_dir.path());
  key("ultimate");
  text += "false";
  key("url");
  append_json_string(text, narinfo.url);
  key("version");
  text += "1}";
  return text;
}

NarInfo parse_narinfo(const StoreDir& store_dir, std::string_view text) {
  Fields fields;
  for (std::size_t line_number = 1; !text.empty(); ++line_number) {
    try {
      const std::size_t end = text.find('\n');
      if (end == text.npos) throw FormatError("the line does not end: the narinfo is cut short");
      set_line(fields, store_dir, text.substr(0, end));
      text.remove_prefix(end + 1);
    } catch (const FormatError& error) {
      throw FormatError(fmt::format("line {} of the narinfo: {}", line_number, error.what()));
    }
  }
  return std::move(fields).finish();
}

}  // namespace nixbuild::nix
