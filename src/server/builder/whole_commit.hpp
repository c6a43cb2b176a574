// A commit with everything in it that its files stand for: submodules as directories, and the
// contents of Git LFS files in place of pointers to them.
//
// Nix would fetch submodules itself, from their remotes, and needs the repository's credentials for
// that; it knows nothing of LFS, or, if it was built with libgit2, knows it in some versions only.
// Evaluation has neither remotes nor credentials, so it gets a commit that needs none.
#pragma once

#include <string>

#include "server/builder/toolbox.hpp"

namespace nixbuild::builder {

// `commit` itself if it has neither submodules nor LFS files, else a commit on top of it, the same
// one for the same contents. `committed_at` is when that is dated, in seconds since 1970. Throws
// Error, also if there are LFS files and git-lfs is not installed.
std::string whole_commit(Toolbox& tools, const std::string& commit,
                         const std::string& committed_at);

}  // namespace nixbuild::builder
