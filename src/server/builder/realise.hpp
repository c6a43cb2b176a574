// Builds the derivations of targets, all at once, and roots the outputs.
#pragma once

#include <filesystem>
#include <vector>

#include "common/protocol/types.hpp"
#include "server/builder/local_store.hpp"
#include "server/builder/report.hpp"
#include "server/builder/toolbox.hpp"

namespace nixbuild::builder {

struct Realised {
  std::vector<protocol::DerivationTime> derivations;  // built, not only substituted
};

// Each "pending" target becomes "success", with its outputs in the store and rooted below `roots`,
// or "failed" with the reason and the last lines of its log. One target's failure does not stop the
// others. The inputs of a dev shell are rooted, too. Throws Error if Nix does not respond at all.
Realised realise(Toolbox& tools, Report& report, LocalStore& store,
                 std::vector<protocol::Target>& targets, const std::filesystem::path& roots,
                 const Toolbox::Options& options);

}  // namespace nixbuild::builder
