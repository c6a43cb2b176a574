// Makes a commit self-contained: submodules become directories, and Git LFS pointers are replaced
// by the files' contents.
//
// Otherwise Nix would fetch submodules itself from their remotes, and would need the repository's
// credentials. It does not support LFS, or only in some versions if built with libgit2. Evaluation
// has access to neither remotes nor credentials, so it gets a commit that needs none.
#pragma once

#include <string>

#include "server/builder/toolbox.hpp"

namespace nixbuild::builder {

// `commit` itself if it has neither submodules nor LFS files, otherwise a commit on top of it,
// which is the same for the same contents. `committed_at` is its date, in seconds since 1970.
// Throws Error, also if there are LFS files and git-lfs is not installed.
std::string whole_commit(Toolbox& tools, const std::string& commit,
                         const std::string& committed_at);

}  // namespace nixbuild::builder
