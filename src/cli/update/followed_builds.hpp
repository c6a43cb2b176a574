// Remembers which builds this machine followed last, so that nobody can use an old, genuine record
// to return it to that build.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "common/protocol/types.hpp"

namespace nixbuild::cli {

class FollowedBuilds {
 public:
  // Reads `file`; if absent, there are no builds. Throws Error if it is damaged.
  explicit FollowedBuilds(std::filesystem::path file);

  // `source` is the input's place and branch in this machine's flake.nix, which no server can
  // change.
  //
  // Why following `record` would go back, in one line; nothing if it goes forward or stays. Within
  // one history the number decides. A server that lost its history has a new id and starts at 1
  // again; then the time decides.
  std::optional<std::string> going_back(const std::string& source,
                                        const protocol::BuildRecord& record) const;
  // Throws RefusedError, whose text begins with `what`, if it would go back.
  void refuse_older(const std::string& source, const protocol::BuildRecord& record,
                    const std::string& what) const;

  void note(const std::string& source, const protocol::BuildRecord& record);
  // Adds the noted builds to the file, which another run may have changed meanwhile, and replaces
  // it atomically. Throws SystemError, and Error like the constructor.
  void save();

 private:
  struct Build {
    std::string history;
    std::int64_t number = 0;
    protocol::Time finish;
  };

  using Builds = std::map<std::string, Build>;  // by source
  static Builds read(const std::filesystem::path& file);

  std::filesystem::path file_;
  Builds builds_;
  Builds noted_;
};

}  // namespace nixbuild::cli
