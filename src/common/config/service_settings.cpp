#include "common/config/service_settings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>

#include "common/base/error.hpp"
#include "common/config/problems.hpp"
#include "common/net/listen_address.hpp"
#include "common/net/server_address.hpp"

namespace nixbuild::config {
namespace {

bool has_control_or_space(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; });
}

void check_path_inside(const std::string& text) {
  const std::filesystem::path path = std::filesystem::path(text).lexically_normal();
  if (text.empty() || path.is_absolute() || *path.begin() == "..") {
    throw UsageError(fmt::format("'{}': a path inside the repository was expected", text));
  }
}

}  // namespace

void add_client_settings(Settings& settings, ClientOptions& options) {
  settings.table("client")
      .add("server", options.server, "HOST", "The build server: HOST, HOST:PORT or a URL")
      .checked([](const std::string& text) { net::parse_server_address(text); })
      .also_from("NIXBUILD_SERVER")
      .add("token_file", options.token_file, "FILE", "Send the token in this file to the server")
      .add("record_keys", options.record_keys, "KEY",
           "Follow only builds whose record this key signed, NAME:BASE64; Nix has to trust it, too")
      .checked(check_public_key);
}

void add_api_settings(Settings& settings, ApiOptions& options) {
  settings.table("api")
      .add("listen", options.listen, "ADDRESS",
           "Listen on 127.0.0.1:PORT, [IPv6]:PORT, tailscale:PORT or unix:/PATH; port 0 picks a "
           "free "
           "port")
      .checked([](const std::string& text) { net::parse_listen_address(text, {}); })
      .add_choice(
          "runner", options.runner,
          {{"auto", Runner::automatic}, {"systemd", Runner::systemd}, {"local", Runner::local}},
          "Run builds as systemd units or as child processes; auto uses systemd if it is available")
      .add("cache_url", options.cache_url, "URL", "URL of serve-cache, for /health")
      .checked([](const std::string& text) { net::parse_server_address(text, net::cache_port); })
      .add("token_file", options.token_file, "FILE", "Require the token in this file from clients")
      .add("allowed_host", options.allowed_hosts, "NAME",
           "Also accept requests for this host name or address")
      .add("trusted_proxies", options.trusted_proxies, "ADDRESS",
           "Address or range of proxies, which may open any number of connections")
      .checked([](const std::string& text) { net::address_in_range("", text); })
      .add("access_log", options.access_log, "Log every request");
}

void add_build_settings(Settings& settings, BuildOptions& options) {
  settings.table("build")
      .add("max_parallel", options.max_parallel, 1, 64,
           "Number of builds at once, over all repositories; further builds are queued")
      .add_choice(
          "isolation", options.isolation,
          {{"required", Isolation::required}, {"none", Isolation::none}},
          "Show git and Nix nothing but the repository's own files and refuse to build where "
          "the system does not allow that, or run them without isolation")
      .add_size("eval_memory", options.eval_memory,
                "Memory that the evaluation of a build may use; 0 means half of the machine's")
      .add("home_manager", options.home_manager, "FLAKE",
           "home-manager flake for the home modules of flakes that have no input of that name");
}

void add_repository_settings(Settings& settings, Repository& repository) {
  settings.table("repository")
      .add("url", repository.url, "URL", "https, ssh, git or file URL, or an absolute path")
      .checked(check_repository_url)
      .add("branch", repository.branch, "NAME", "Branch to build (default: the remote's HEAD)")
      .checked(check_branch)
      .add("ref", repository.ref, "REF", "A tag, or the 40 digits of a commit, to build instead")
      .checked(check_branch)
      .add("dir", repository.dir, "DIR",
           "The directory of its flake or default.nix (default: the top of the repository)")
      .checked([](const std::string& text) {
        if (!text.empty()) check_path_inside(text);
      })
      .add_choice(
          "lock", repository.lock,
          {{"updated", Lock::updated}, {"committed", Lock::committed}, {"both", Lock::both}},
          "Build with updated inputs, with the repository's own flake.lock, or both")
      .add("push_lock", repository.push_lock,
           "Push the updated flake.lock after a successful build")
      .add("keep", repository.keep, 1, 10'000,
           "Number of successes of each target whose outputs are kept from garbage collection")
      .add("keep_history", repository.keep_history, 1, 1'000'000,
           "Number of builds that the history keeps; the newest success of each target stays as "
           "well")
      .add_duration("timeout", repository.timeout, "Stop builds that take longer")
      .add("systems", repository.systems, "SYSTEM",
           "Systems to build for (default: this machine's)")
      .add("targets", repository.targets, "ATTRIBUTE",
           "Attributes to build (default: everything that the flake offers)")
      .checked([](const std::string& text) {
        if (text.empty() || text.front() == '-') {
          throw UsageError(fmt::format("'{}': an attribute path was expected", text));
        }
      })
      .add("home_config", repository.home_config, "FILE",
           "File in the repository that enables options of its home modules")
      .checked(check_path_inside)
      .add("accept_flake_config", repository.accept_flake_config,
           "Apply the nixConfig of the repository's flake, which can run code")
      .add("ssh_key_file", repository.ssh_key_file, "FILE",
           "The private key that the repository and its inputs are fetched with over ssh")
      .add("netrc_file", repository.netrc_file, "FILE",
           "User names and passwords for fetching over https, in the format of netrc(5)")
      .add("access_tokens_file", repository.access_tokens_file, "FILE",
           "Tokens for inputs on forges: a file with Nix's setting access-tokens")
      .add("local_inputs", repository.local_inputs, "DIR",
           "Directories of this machine that inputs may come from; builds can read them")
      .checked([](const std::string& text) {
        if (!std::filesystem::path(text).is_absolute()) {
          throw UsageError(fmt::format("'{}': an absolute path was expected", text));
        }
      });
}

RepositoryList::RepositoryList() = default;

Settings& RepositoryList::element(const std::string& name) {
  check_repository_name(name);
  for (Element& element : elements_) {
    if (element.repository.name == name) return element.settings;
  }
  Element& element = elements_.emplace_back();
  element.repository.name = name;
  add_repository_settings(element.settings, element.repository);
  return element.settings;
}

void RepositoryList::add_to(Settings& settings) {
  settings.add_list_of_tables(
      "repository", [this](const std::string& name) -> Settings& { return element(name); });
}

void RepositoryList::add_flag(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos) {
    throw UsageError(
        fmt::format("--repository: '{}': NAME=URL or NAME=URL#BRANCH was expected", text));
  }
  const std::size_t hash = text.rfind('#');
  try {
    Settings& settings = element(text.substr(0, equals));
    const auto set = [&](std::string_view key, std::string value) {
      Setting* setting = settings.find("repository", key);
      setting->assign({std::move(value)});
      setting->origin = "--repository";
    };
    set("url", text.substr(equals + 1, hash == std::string::npos ? hash : hash - equals - 1));
    if (hash != std::string::npos) set("branch", text.substr(hash + 1));
  } catch (const UsageError& error) {
    throw UsageError(fmt::format("--repository: {}", error.what()));
  }
}

std::vector<Repository> RepositoryList::repositories() const {
  std::vector<Repository> repositories;
  Problems problems;
  for (const Element& element : elements_) {
    problems.attempt([&] {
      if (element.repository.url.empty()) {
        throw UsageError(fmt::format("repository '{}': url is missing", element.repository.name));
      }
      if (element.repository.ref && (element.repository.branch || element.repository.push_lock)) {
        throw UsageError(fmt::format(
            "repository '{}': ref is a fixed tag or commit; it goes with neither branch "
            "nor push_lock",
            element.repository.name));
      }
    });
    repositories.push_back(element.repository);
  }
  problems.throw_if_any();
  return repositories;
}

void check_repository_name(std::string_view name) {
  const auto is_lower_or_digit = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  };
  const bool good = !name.empty() && name.size() <= 63 && is_lower_or_digit(name.front()) &&
                    std::all_of(name.begin(), name.end(), [&](char c) {
                      return is_lower_or_digit(c) || c == '.' || c == '_' || c == '-';
                    });
  if (!good) {
    throw UsageError(fmt::format(
        "'{}': a repository's name has 1 to 63 of a-z, 0-9, '.', '_', '-' and begins with a letter "
        "or digit",
        name));
  }
}

// git passes parts of a URL to ssh and to remote helpers, and both treat a part that begins with a
// dash as an option (CVE-2017-1000117); `ext::` runs a command.
void check_repository_url(std::string_view url) {
  const UsageError error(fmt::format(
      "'{}': an https, ssh, git or file URL, USER@HOST:PATH or an absolute path was expected",
      url));
  if (url.empty() || has_control_or_space(url)) throw error;
  if (url.front() == '/') return;
  std::string_view authority;
  if (const std::size_t scheme_end = url.find("://"); scheme_end != std::string_view::npos) {
    constexpr std::array<std::string_view, 5> schemes = {"https", "http", "ssh", "git", "file"};
    const std::string_view scheme = url.substr(0, scheme_end);
    if (std::find(schemes.begin(), schemes.end(), scheme) == schemes.end()) throw error;
    authority = url.substr(scheme_end + 3);
    authority = authority.substr(0, authority.find('/'));
    if (authority.empty() && scheme != "file") throw error;
  } else {
    // USER@HOST:PATH, ssh's short form. The user is required, so that a mistyped path is not
    // mistaken for a host.
    const std::size_t at = url.find('@');
    const std::size_t colon = url.find(':');
    if (at == std::string_view::npos || at == 0 || colon == std::string_view::npos || colon < at ||
        url.find("::") != std::string_view::npos || url.find('/') < colon) {
      throw error;
    }
    authority = url.substr(0, colon);
    if (const std::string_view path = url.substr(colon + 1); path.empty() || path.front() == '-') {
      throw error;
    }
  }
  const std::size_t at = authority.rfind('@');
  if (const std::size_t colon = authority.find(':');
      (at != std::string_view::npos && colon < at) || url.find('?') != std::string_view::npos) {
    throw UsageError(
        fmt::format("'{}': a URL holds no password or token, since other programs could read it; "
                    "put it into a file and name that as netrc_file (https) or ssh_key_file (ssh)",
                    without_credentials(url)));
  }
  const std::string_view host = at == std::string_view::npos ? authority : authority.substr(at + 1);
  if (authority.starts_with('-') || host.starts_with('-')) throw error;
}

// As `git check-ref-format --branch` does.
void check_branch(std::string_view branch) {
  const bool bad =
      branch.empty() || branch.front() == '-' || branch.front() == '/' || branch.front() == '.' ||
      branch.back() == '/' || branch.back() == '.' || branch == "@" ||
      has_control_or_space(branch) || branch.find_first_of("~^:?*[\\") != std::string_view::npos ||
      branch.find("..") != std::string_view::npos || branch.find("//") != std::string_view::npos ||
      branch.find("/.") != std::string_view::npos || branch.find("@{") != std::string_view::npos ||
      branch.ends_with(".lock");
  if (bad) throw UsageError(fmt::format("'{}': the name of a git branch was expected", branch));
}

std::string without_credentials(std::string_view url) {
  const std::size_t scheme_end = url.find("://");
  if (scheme_end == std::string_view::npos) return std::string(url);
  const std::size_t begin = scheme_end + 3;
  // git needs no query in a URL; if there is one, it carries a token.
  const std::size_t query = url.find('?', begin);
  const std::string shown(query == std::string_view::npos ? url : url.substr(0, query));
  const std::string_view hidden = shown.size() == url.size() ? "" : "?***";
  const std::size_t at = shown.substr(0, shown.find('/', begin)).rfind('@');
  if (at == std::string::npos || at < begin) return shown + std::string(hidden);
  const std::string scheme = shown.substr(0, scheme_end);
  const std::size_t colon = shown.substr(begin, at - begin).find(':');
  // Over ssh the part before '@' is a user name; over https, a user name alone is usually a token.
  if (colon == std::string::npos && scheme == "ssh") return shown + std::string(hidden);
  return fmt::format("{}://***{}{}", scheme, shown.substr(at), hidden);
}

}  // namespace nixbuild::config
