// The paths of the build service's data below the state directory.
//
// Two users write there: the API's (new rows of the history) and the builds' (everything). They
// share a group, so all files created here are readable and writable for the group, and
// inaccessible to others.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace nixbuild::history {

class StateLayout {
 public:
  explicit StateLayout(std::filesystem::path state_dir) : root_(std::move(state_dir)) {}

  const std::filesystem::path& root() const noexcept { return root_; }
  std::filesystem::path history() const { return root_ / "history.sqlite"; }
  std::filesystem::path status(std::string_view repository) const;  // status/REPO.json
  std::filesystem::path all_logs() const { return root_ / "logs"; }
  std::filesystem::path logs(std::string_view repository) const;  // logs/REPO/
  std::filesystem::path log(std::string_view repository, std::int64_t build) const;
  std::filesystem::path repository(std::string_view repository) const;  // repos/REPO/, the clone
  std::filesystem::path gc_roots(std::string_view repository) const;    // gcroots/REPO/
  std::filesystem::path gc_roots(std::string_view repository, std::int64_t build) const;
  std::filesystem::path lock(std::string_view repository) const;           // locks/REPO.lock
  std::filesystem::path slot(int number) const;                            // locks/slot-N
  std::filesystem::path processes(std::string_view repository) const;      // locks/REPO.processes
  std::filesystem::path reserve(std::string_view repository) const;        // locks/REPO.reserve
  std::filesystem::path runner_output(std::string_view repository) const;  // locks/REPO.output
  std::filesystem::path home(std::string_view repository) const;  // home/REPO/, for its programs
  // home/.fetching/REPO/, for the programs that fetch with its credentials.
  std::filesystem::path fetching_home(std::string_view repository) const;

  // Creates missing directories. Throws SystemError.
  void create() const;

 private:
  std::filesystem::path root_;
};

}  // namespace nixbuild::history
