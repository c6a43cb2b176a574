// Updates a repository's clone to the newest commit of its branch, whatever its state.
#pragma once

#include <string>

#include "common/config/build_options.hpp"
#include "server/builder/nix_expression.hpp"
#include "server/builder/report.hpp"
#include "server/builder/toolbox.hpp"

namespace nixbuild::builder {

struct Checkout {
  std::string commit;  // 40 hexadecimal digits
  std::string subject;
  std::string author;
  std::string committed_at;  // seconds since 1970
  Depth depth = Depth::full;
};

// Fetches into the toolbox's clone and resets it to the fetched commit. There is no merge, so a
// rewritten history is not a problem. A clone of another remote, or one that git cannot use, is
// replaced by a new one. Throws Error with git's reason.
Checkout check_out(Toolbox& tools, Report& report, const config::Repository& repository);

// Commits flake.lock on top of the checked-out commit; returns the new commit. With
// `CommitTime::reproducible`, the same lock on the same commit gives the same commit, so that it is
// not evaluated again. Throws Error.
enum class CommitTime { reproducible, now };
std::string commit_lock(Toolbox& tools, const Checkout& checkout, CommitTime time);

// Pushes `commit` to the repository's branch, unless that has changed meanwhile. Throws Error with
// git's reason.
void push_commit(Toolbox& tools, const config::Repository& repository, const std::string& commit);

}  // namespace nixbuild::builder
