// Which outputs of earlier builds stay rooted.
//
// Each build has a directory named by its number, with symbolic links that Nix knows as GC roots:
// rootN to outputs, inputN to what its dev shells are built from, and as long as it runs evaluatedN
// to its derivations.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "server/history/history.hpp"

namespace nixbuild::builder {

constexpr const char* output_root = "root";
constexpr const char* input_root = "input";
constexpr const char* evaluation_root = "evaluated";

struct KeptRoots {
  std::set<std::string> outputs;  // store paths
  bool has_dev_shell = false;     // and with it what it is built from
};

// The newest `keep` successes of each target of a branch, by build. A target that `keep` newer
// builds do not have any more is dropped; a build in which the set that it belongs to did not
// evaluate does not count against it. `builds` are newest first; one whose branch is unknown counts
// as of the newest's.
std::map<std::int64_t, KeptRoots> roots_to_keep(const std::vector<history::BuildTargets>& builds,
                                                int keep);

// Numbers of the builds that have roots, newest first. `roots` is the directory of the repository.
std::vector<std::int64_t> rooted_builds(const std::filesystem::path& roots);

// Removes all roots but those in `kept`, and those of evaluations: none of these builds may still
// run. Builds that the history does not know are kept if they are among the newest `keep`.
void remove_old_roots(const std::filesystem::path& roots,
                      const std::map<std::int64_t, KeptRoots>& kept,
                      const std::set<std::int64_t>& known, int keep);

}  // namespace nixbuild::builder
