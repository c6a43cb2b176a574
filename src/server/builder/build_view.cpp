#include "server/builder/build_view.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <set>
#include <string_view>

#include "common/base/error.hpp"
#include "server/builder/local_store.hpp"

extern char** environ;

namespace nixbuild::builder {
namespace {

namespace fs = std::filesystem;

// Environment variables that name paths, which are made visible too.
constexpr std::array<const char*, 9> variables_with_files = {
    "NIX_CONF_DIR",           "NIX_SSL_CERT_FILE", "SSL_CERT_FILE",
    "SSL_CERT_DIR",           "CURL_CA_BUNDLE",    "GIT_SSL_CAINFO",
    "NIX_DAEMON_SOCKET_PATH", "GIT_CONFIG_SYSTEM", "LOCALE_ARCHIVE"};
constexpr std::array<const char*, 29> other_variables = {"PATH",
                                                         "LANG",
                                                         "LC_ALL",
                                                         "TZ",
                                                         "USER",
                                                         "LOGNAME",
                                                         "NIX_REMOTE",
                                                         "NIX_STORE",
                                                         "NIX_STORE_DIR",
                                                         "NIX_STATE_DIR",
                                                         "NIX_LOG_DIR",
                                                         "NIX_CONFIG",
                                                         "NIX_PATH",
                                                         "NIX_REMOTE_SYSTEMS",
                                                         "GIT_SSH_COMMAND",
                                                         "http_proxy",
                                                         "https_proxy",
                                                         "ftp_proxy",
                                                         "all_proxy",
                                                         "no_proxy",
                                                         "HTTP_PROXY",
                                                         "HTTPS_PROXY",
                                                         "FTP_PROXY",
                                                         "ALL_PROXY",
                                                         "NO_PROXY",
                                                         "ASAN_OPTIONS",
                                                         "UBSAN_OPTIONS",
                                                         "TSAN_OPTIONS",
                                                         "NIXBUILD_TEST_DAEMON_OF"};

bool is_part_of(const fs::path& path, const fs::path& directory) {
  return std::mismatch(directory.begin(), directory.end(), path.begin(), path.end()).first ==
         directory.end();
}

fs::path real(const fs::path& path) {
  std::error_code error;
  auto result = fs::weakly_canonical(path, error);
  return error ? path.lexically_normal() : result;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    if (end > 0) parts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

void add_programs(View& view, const history::StateLayout& layout) {
  const char* path = std::getenv("PATH");
  const char* home = std::getenv("HOME");
  for (const std::string& entry : split(path == nullptr ? "" : path, ':')) {
    if (entry.front() != '/' || is_part_of_system(entry)) continue;
    // A directory with other files besides programs is not shown just because of PATH.
    const fs::path directory = real(entry);
    const bool holds_more = is_part_of(real(layout.root()), directory) ||
                            (home != nullptr && is_part_of(real(home), directory));
    if (!holds_more) view.readable.emplace_back(entry);
  }
}

void add_store(View& view) {
  const store::StoreLayout store = LocalStore().layout();
  for (const fs::path& path : {fs::path(store.real_store_dir), fs::path(store.nix_state_dir),
                               fs::path(store.nix_log_dir)}) {
    std::error_code error;
    fs::create_directories(path, error);
    (::access(path.c_str(), W_OK) == 0 ? view.writable : view.readable).push_back(path);
  }
}

}  // namespace

fs::path local_path(const std::string& url) {
  constexpr std::string_view scheme = "file://";
  if (url.starts_with(scheme)) return url.substr(scheme.size());
  return url.starts_with('/') ? fs::path(url) : fs::path();
}

View build_view(const RunOptions& options, const history::StateLayout& layout,
                const fs::path& temporary) {
  const std::string& name = options.repository.name;
  View view;
  view.temporary = temporary;
  add_programs(view, layout);
  add_store(view);
  for (const char* variable : variables_with_files) {
    const char* value = std::getenv(variable);
    if (value != nullptr && *value == '/') view.readable.emplace_back(value);
  }
  const char* nix_path = std::getenv("NIX_PATH");
  for (const std::string& entry : split(nix_path == nullptr ? "" : nix_path, ':')) {
    const std::string path = entry.substr(entry.find('=') + 1);
    if (path.starts_with('/')) view.readable.emplace_back(path);
  }
  for (const fs::path& input : options.repository.local_inputs)
    view.readable.push_back(input);
  view.readable.push_back(layout.repository(name));
  view.writable.insert(view.writable.end(), {layout.home(name), layout.gc_roots(name)});
  view.hidden = options.secrets;
  view.hidden.push_back(layout.root());
  view.hidden.emplace_back("/etc/nixbuild");
  return view;
}

std::vector<std::pair<std::string, std::optional<std::string>>> scrubbed_environment() {
  std::set<std::string_view> kept(variables_with_files.begin(), variables_with_files.end());
  kept.insert(other_variables.begin(), other_variables.end());
  std::vector<std::pair<std::string, std::optional<std::string>>> changes;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    const std::string_view name = text.substr(0, text.find('='));
    if (!kept.contains(name)) changes.emplace_back(name, std::nullopt);
  }
  return changes;
}

TemporaryDirectory::TemporaryDirectory(const std::string& repository) {
  std::error_code error;
  const fs::path parent = fs::temp_directory_path(error);
  std::string name =
      ((error ? fs::path("/tmp") : parent) / fmt::format("nixbuild-{}-XXXXXX", repository))
          .string();
  if (::mkdtemp(name.data()) == nullptr) {
    throw SystemError(errno, fmt::format("making a directory in {}", parent.string()));
  }
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code error;
  if (path_.empty()) return;
  // Nix makes what it builds read-only.
  for (auto entry = fs::recursive_directory_iterator(
           path_, fs::directory_options::skip_permission_denied, error);
       !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    if (entry->is_directory(error) && !entry->is_symlink(error)) {
      fs::permissions(entry->path(), fs::perms::owner_all, fs::perm_options::add, error);
    }
  }
  fs::remove_all(path_, error);
}

TemporaryDirectory& TemporaryDirectory::operator=(TemporaryDirectory&& other) noexcept {
  std::swap(path_, other.path_);
  return *this;
}

}  // namespace nixbuild::builder
