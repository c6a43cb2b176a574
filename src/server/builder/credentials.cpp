#include "server/builder/credentials.hpp"

#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "common/base/error.hpp"
#include "common/base/files.hpp"

namespace nixbuild::builder {
namespace {

namespace fs = std::filesystem;

constexpr const char* ssh_key = "ssh-key";
constexpr const char* netrc = ".netrc";
constexpr const char* access_tokens = "access-tokens";
constexpr std::size_t most_token_bytes = 65536;

// The file for `setting`; empty if there is none.
fs::path file_of(const char* setting, const fs::path& configured) {
  std::error_code error;
  if (const char* directory = std::getenv("CREDENTIALS_DIRECTORY"); directory != nullptr) {
    if (fs::path file = fs::path(directory) / setting; fs::exists(file, error)) return file;
  }
  return configured;
}

void check_readable(const char* setting, const fs::path& file) {
  if (::access(file.c_str(), R_OK) == 0) return;
  throw UsageError(
      fmt::format("{}: cannot read {}: {}", setting, file.string(), std::strerror(errno)));
}

// Nix reads the file as one of its configuration files, which can contain more than tokens.
void check_tokens(const fs::path& file) {
  const std::string text = read_file(file, most_token_bytes).value_or("");
  std::string_view rest = text;
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    if (line.empty() || line.front() == '#' || line.starts_with("access-tokens =") ||
        line.starts_with("extra-access-tokens =")) {
      continue;
    }
    throw UsageError(fmt::format(
        "access_tokens_file: {} has a line that is no setting of tokens; a line such as "
        "\"access-tokens = github.com=TOKEN\" was expected",
        file.string()));
  }
}

fs::path unguessable_directory() {
  std::array<unsigned char, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    throw SystemError(errno, "asking for random bytes");
  }
  std::string name = "/run/credentials-";
  for (const unsigned char byte : bytes)
    name += fmt::format("{:02x}", static_cast<unsigned>(byte));
  return name;
}

}  // namespace

Credentials::Credentials(const config::Repository& repository) {
  const auto add = [this](const char* setting, const fs::path& configured, const char* name) {
    const fs::path file = file_of(setting, configured);
    if (file.empty()) return;
    check_readable(setting, file);
    if (std::string_view(name) == access_tokens) check_tokens(file);
    files_.emplace_back(file, name);
  };
  add("ssh_key_file", repository.ssh_key_file, ssh_key);
  add("netrc_file", repository.netrc_file, netrc);
  add("access_tokens_file", repository.access_tokens_file, access_tokens);
  if (!empty()) directory_ = unguessable_directory();
}

void Credentials::hide_in(View& view) const {
  for (const auto& [file, name] : files_)
    view.hidden.push_back(file);
}

void Credentials::show_in(View& view) const {
  for (const auto& [file, name] : files_)
    view.placed.emplace_back(file, directory_ / name);
}

void Credentials::link_in(const fs::path& directory) {
  directory_ = directory;
  for (const auto& [file, name] : files_)
    fs::create_symlink(fs::absolute(file), directory / name);
}

fs::path Credentials::place_of(const char* name) const {
  const bool is_there = std::any_of(files_.begin(), files_.end(),
                                    [&](const auto& file) { return file.second == name; });
  return is_there ? directory_ / name : fs::path();
}

std::vector<std::pair<std::string, std::optional<std::string>>> Credentials::environment() const {
  std::vector<std::pair<std::string, std::optional<std::string>>> variables;
  if (const fs::path key = place_of(ssh_key); !key.empty()) {
    variables.emplace_back("GIT_SSH_COMMAND",
                           fmt::format("ssh -oBatchMode=yes -oConnectTimeout=30 "
                                       "-oServerAliveInterval=30 -oIdentitiesOnly=yes -i {}",
                                       key.string()));
  }
  // git looks for .netrc in the home directory.
  if (!place_of(netrc).empty()) variables.emplace_back("HOME", directory_.string());
  if (const fs::path tokens = place_of(access_tokens); !tokens.empty()) {
    variables.emplace_back("NIX_USER_CONF_FILES", tokens.string());
  }
  return variables;
}

std::string Credentials::without_place(std::string_view text) const {
  const std::string place = directory_.string();
  std::string result;
  if (!place.empty()) {
    for (std::size_t at = text.find(place); at != std::string_view::npos; at = text.find(place)) {
      result.append(text.substr(0, at)).append("[credentials]");
      text.remove_prefix(at + place.size());
    }
  }
  return result.append(text);
}

std::vector<std::pair<std::string, std::string>> Credentials::nix_options() const {
  const fs::path file = place_of(netrc);
  if (file.empty()) return {};
  return {{"netrc-file", file.string()}};
}

}  // namespace nixbuild::builder
