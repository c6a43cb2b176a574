// The clone of a repository: brought to the newest commit of its branch, whatever state it was in.
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

// Fetches into the toolbox's clone and resets it to what was fetched: no merge, so a rewritten
// history is no obstacle. A clone of another remote, or one that git cannot work with, is replaced
// by a new one. Throws Error with git's reason.
Checkout check_out(Toolbox& tools, Report& report, const config::Repository& repository);

// Commits flake.lock on top of what is checked out; returns the new commit. With
// `CommitTime::reproducible` the same lock on the same commit gives the same commit, so that it is
// not evaluated anew. Throws Error.
enum class CommitTime { reproducible, now };
std::string commit_lock(Toolbox& tools, const Checkout& checkout, CommitTime time);

// Pushes `commit` to the repository's branch, unless that has moved on meanwhile. Throws Error with
// git's reason.
void push_commit(Toolbox& tools, const config::Repository& repository, const std::string& commit);

}  // namespace nixbuild::builder
