#include "cli/machine/known_keys.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/base/terminal.hpp"
#include "common/config/load.hpp"
#include "common/config/state_dir.hpp"

namespace nixbuild::cli {
namespace {

constexpr mode_t file_mode = 0644;

// Calls `use(line, url, key)` for each line.
template <typename Use>
void for_each_line(std::string_view text, const Use& use) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const std::size_t space = line.find(' ');
    if (space != std::string_view::npos) {
      use(line, line.substr(0, space), line.substr(space + 1));
    }
  }
}

}  // namespace

std::string describe(const nix::PublicKey& key) {
  return fmt::format("{}  {}", key.fingerprint(), terminal::printable(key.name()));
}

PublicKeys keys_of(std::string_view text, std::string_view cache_url) {
  PublicKeys keys;
  for_each_line(text, [&](std::string_view, std::string_view url, std::string_view key) {
    if (url != cache_url) return;
    try {
      keys.push_back(nix::PublicKey::parse(key));
    } catch (const FormatError&) {
      // Damaged lines count as absent.
    }
  });
  return keys;
}

std::string with_keys(std::string_view text, std::string_view cache_url, const PublicKeys& keys) {
  std::string out;
  for_each_line(text, [&](std::string_view line, std::string_view url, std::string_view) {
    if (url != cache_url) out += fmt::format("{}\n", line);
  });
  for (const nix::PublicKey& key : keys)
    out += fmt::format("{} {}\n", cache_url, key.to_string());
  return out;
}

std::vector<KeyChange> key_changes(const PublicKeys& before, const PublicKeys& now) {
  std::vector<KeyChange> changes;
  if (before.empty() || now.empty()) return changes;
  bool knows_one = false;
  for (const nix::PublicKey& key : now) {
    if (std::find(before.begin(), before.end(), key) != before.end()) {
      knows_one = true;
      continue;
    }
    const auto same_name =
        std::find_if(before.begin(), before.end(),
                     [&](const nix::PublicKey& other) { return other.name() == key.name(); });
    if (same_name != before.end()) changes.push_back({*same_name, key});
  }
  if (changes.empty() && !knows_one) changes.push_back({before.front(), now.front()});
  return changes;
}

PublicKeys KnownKeys::of(std::string_view cache_url) const {
  return keys_of(read_file(file_).value_or(""), cache_url);
}

void KnownKeys::remember(std::string_view cache_url, const PublicKeys& keys) const {
  const std::string before = read_file(file_).value_or("");
  const std::string after = with_keys(before, cache_url, keys);
  if (after == before) return;
  std::error_code error;
  std::filesystem::create_directories(file_.parent_path(), error);
  if (error) {
    throw SystemError(error.value(), fmt::format("creating {}", file_.parent_path().string()));
  }
  write_file_atomic(file_, after, file_mode);
}

KnownKeys known_keys_of_user() {
  return KnownKeys(config::user_state_dir(config::process_environment) / "known-keys");
}

}  // namespace nixbuild::cli
