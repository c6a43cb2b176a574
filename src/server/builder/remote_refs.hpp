// The branches and tags of a remote; chooses the branch to build, and explains if the configured
// one is missing.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/build_options.hpp"

namespace nixbuild::builder {

struct RemoteRefs {
  std::vector<std::string> branches;  // without "refs/heads/"
  std::vector<std::string> tags;      // without "refs/tags/"
};

// Parses the output of `git ls-remote`: "ID<tab>REF" per line. Omits names that git itself would
// reject, since a remote can send any.
RemoteRefs parse_remote_refs(std::string_view output);

// The branch to build if HEAD names none that exists: the only branch, or main or master.
std::optional<std::string> branch_without_head(const RemoteRefs& refs);

// Explains why there is nothing to fetch, with the available branches or tags and the setting to
// change.
std::string absence(const config::Repository& repository, const RemoteRefs& refs);

}  // namespace nixbuild::builder
