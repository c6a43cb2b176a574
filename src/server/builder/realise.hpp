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
// "failed" with the reason and the last lines of its log. One target's failure stops no other. What
// a dev shell is built from is rooted, too. Throws Error if Nix does not answer at all.
Realised realise(Toolbox& tools, Report& report, LocalStore& store,
                 std::vector<protocol::Target>& targets, const std::filesystem::path& roots,
                 const Toolbox::Options& options);

}  // namespace nixbuild::builder
