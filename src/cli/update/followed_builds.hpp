// Which builds this machine followed last, so that nobody who has an old, genuine record can lead
// it back to that build.
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
  // Reads `file`; an absent one is empty. Throws Error for a damaged one.
  explicit FollowedBuilds(std::filesystem::path file);

  // `source` is what this machine's flake.nix says of the input, which no server can change: its
  // place and branch.
  //
  // Why following `record` would go back, in one line; nothing if it goes forward or stays. In one
  // history the number decides. A server that lost its history starts at 1 again with another id:
  // then the time does.
  std::optional<std::string> going_back(const std::string& source,
                                        const protocol::BuildRecord& record) const;

  void note(const std::string& source, const protocol::BuildRecord& record);
  // Adds what was noted to the file, which another run may have changed meanwhile, and replaces it
  // atomically. Throws SystemError, and Error as the constructor does.
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
