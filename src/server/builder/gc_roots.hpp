// Decides which outputs of earlier builds keep their GC roots.
//
// Each build has a directory named by its number, with symbolic links registered as GC roots: rootN
// for outputs, inputN for the inputs of its dev shells, and evaluatedN, only while it runs, for its
// derivations.
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
  bool has_dev_shell = false;     // whose inputs are kept too
};

// The newest `keep` successes of each target of a branch, by build. A target that is missing from
// `keep` newer builds is dropped; builds without any success, and those that failed to evaluate the
// target's set, do not count.
// `builds` are newest first; a build with an unknown branch counts as on the newest build's branch.
std::map<std::int64_t, KeptRoots> roots_to_keep(const std::vector<history::BuildTargets>& builds,
                                                int keep);

// The numbers of builds with roots, newest first. `roots` is the directory of the repository.
std::vector<std::int64_t> rooted_builds(const std::filesystem::path& roots);

// Removes all roots except those in `kept`, and those of evaluations: none of these builds may
// still be running. Builds missing from the history are kept if they are among the newest `keep`.
void remove_old_roots(const std::filesystem::path& roots,
                      const std::map<std::int64_t, KeptRoots>& kept,
                      const std::set<std::int64_t>& known, int keep);

}  // namespace nixbuild::builder
