// The branches and tags of a remote, and what to build or to say if what was configured is not
// among them.
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

// Reads what `git ls-remote` prints: "ID<tab>REF" a line. Leaves out names that git itself would
// refuse, since a remote can send any.
RemoteRefs parse_remote_refs(std::string_view output);

// The branch to build if HEAD names none that exists: the only one, main or master.
std::optional<std::string> branch_without_head(const RemoteRefs& refs);

// Why there is nothing to fetch, with the branches or tags that there are and what to configure.
std::string absence(const config::Repository& repository, const RemoteRefs& refs);

}  // namespace nixbuild::builder
