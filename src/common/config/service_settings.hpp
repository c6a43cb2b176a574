// The settings of the build service and its clients: the tables [client], [api] and [build], and
// the list [[repository]].
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/build_options.hpp"
#include "common/config/setting.hpp"

namespace nixbuild::config {

// Each binds settings to fields of its options, which must outlive `settings`.
void add_client_settings(Settings& settings, ClientOptions& options);
void add_api_settings(Settings& settings, ApiOptions& options);
void add_build_settings(Settings& settings, BuildOptions& options);
// The keys of one [[repository]], except for its name.
void add_repository_settings(Settings& settings, Repository& repository);

// Collects the repositories of all configuration files, merged by name.
class RepositoryList {
 public:
  RepositoryList();
  RepositoryList(const RepositoryList&) = delete;
  RepositoryList& operator=(const RepositoryList&) = delete;

  // Makes `settings` read [[repository]] into this list, which must outlive it.
  void add_to(Settings& settings);
  // As given to --repository: NAME=URL or NAME=URL#BRANCH. Throws UsageError.
  void add_flag(const std::string& text);

  struct Element {
    Repository repository;
    Settings settings;
  };
  const std::deque<Element>& elements() const noexcept { return elements_; }

  // The repositories in order of their first occurrence. Throws UsageError for one without a URL.
  std::vector<Repository> repositories() const;

 private:
  Settings& element(const std::string& name);

  std::deque<Element> elements_;  // a deque: settings are bound to the fields of their element
};

// Each throws UsageError saying what was expected.
void check_repository_name(std::string_view name);
void check_repository_url(std::string_view url);
void check_branch(std::string_view branch);

// The URL with passwords and tokens, between "://" and "@" or after "?", replaced by "***".
std::string without_credentials(std::string_view url);

}  // namespace nixbuild::config
