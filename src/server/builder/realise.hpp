// Builds the derivations of targets, all at once, and roots what came out.
#pragma once

#include <filesystem>
#include <vector>

#include "common/protocol/types.hpp"
#include "server/builder/local_store.hpp"
#include "server/builder/report.hpp"
#include "server/builder/toolbox.hpp"

namespace nixbuild::builder {

struct Realised {
  std::vector<protocol::DerivationTime> derivations;  // those that were built, not only substituted
};

// Every "pending" target becomes "success", its outputs in the store and rooted below `roots`, or
// "failed" with the reason and the last lines of its log. One target's failure stops no other.
// Throws Error where Nix does not answer at all.
Realised realise(Toolbox& tools, Report& report, LocalStore& store,
                 std::vector<protocol::Target>& targets, const std::filesystem::path& roots,
                 const Toolbox::Options& options);

// Removes the roots of all but the newest `keep` builds that have some. `roots` is the directory in
// which each build has one named by its number.
void remove_old_roots(const std::filesystem::path& roots, int keep);

}  // namespace nixbuild::builder
