#include "common/protocol/record.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "common/base/error.hpp"
#include "common/nix/store_path.hpp"
#include "common/protocol/fields.hpp"
#include "common/protocol/json.hpp"

namespace nixbuild::protocol {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t most_depth = 8;  // nesting depth; a record has 5

std::string canonical(const Json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
}

bool is_hexadecimal(std::string_view text, std::size_t digits) {
  return text.size() == digits &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

void require(bool holds, std::string_view field, std::string_view expected) {
  if (!holds) {
    throw FormatError(fmt::format("build record: field '{}': expected {}", field, expected));
  }
}

// Whether `path` is a store path in any store directory.
std::optional<nix::StorePath> parse_store_path(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos || slash == 0) return std::nullopt;
  try {
    return nix::StoreDir(path.substr(0, slash)).parse(path);
  } catch (const UsageError&) {
    return std::nullopt;
  }
}

void check(const BuildRecord& record) {
  require(is_hexadecimal(record.history, 32), "history", "32 hexadecimal digits");
  require(record.build > 0, "build", "a number above 0");
  require(!record.repository.empty(), "repository", "a name");
  require(has_ended(record.state) && record.state != BuildState::unknown, "state",
          "the state of a build that has ended");
  require(is_hexadecimal(record.commit, 40) || is_hexadecimal(record.commit, 64), "commit",
          "40 or 64 hexadecimal digits");
  require(!record.lock_sha256 || is_hexadecimal(*record.lock_sha256, 64), "lock_sha256",
          "64 hexadecimal digits");
  for (const RecordedTarget& target : record.targets) {
    const auto derivation = parse_store_path(target.derivation);
    require(derivation && derivation->is_derivation(), "targets.derivation",
            "the store path of a derivation");
    require(!target.outputs.empty(), "targets.outputs", "at least one output");
    for (const RecordedOutput& output : target.outputs)
      require(parse_store_path(output.path).has_value(), "targets.outputs.path", "a store path");
  }
}

// Rejects documents nested so deeply that parsing them would exhaust the stack.
void check_depth(std::string_view bytes) {
  std::size_t depth = 0;
  bool is_string = false;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const char c = bytes[i];
    if (c == '\\' && is_string) {
      ++i;
    } else if (c == '"') {
      is_string = !is_string;
    } else if (!is_string && (c == '{' || c == '[')) {
      if (++depth > most_depth) throw FormatError("build record: nested too deeply");
    } else if (!is_string && (c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
}

}  // namespace

std::string render_record(const BuildRecord& record) {
  return canonical(Json::parse(to_json(record)));
}

std::string signed_text(std::string_view record) {
  return std::string(record_signature_prefix).append(record);
}

std::optional<nix::PublicKey> record_signer(const SignedRecord& record,
                                            std::span<const nix::PublicKey> keys) {
  const std::string text = signed_text(record.record);
  for (const nix::PublicKey& key : keys) {
    for (const std::string& signature : record.signatures) {
      if (key.verify(text, signature)) return key;
    }
  }
  return std::nullopt;
}

BuildRecord parse_record(std::string_view bytes) {
  check_depth(bytes);
  const Json json = Json::parse(bytes, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) throw FormatError("build record: not a JSON object");
  const auto format = json.find("format");
  require(format != json.end() && format->is_number_integer(), "format", "a number");
  if (*format != record_format) {
    throw FormatError(
        fmt::format("build record: unsupported format {} (expected {}); a newer nixbuild reads it",
                    format->dump(), record_format));
  }
  // White space, duplicate keys and other spellings of the same text are refused: no server writes
  // them.
  if (canonical(json) != bytes) throw FormatError("build record: not canonical JSON");
  BuildRecord record = from_json<BuildRecord>(bytes);
  check(record);
  return record;
}

}  // namespace nixbuild::protocol
