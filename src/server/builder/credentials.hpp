// The credentials for fetching a private repository and its inputs: files that only git, ssh and
// the part of Nix that fetches inputs can see.
//
// They are placed in a directory with an unguessable name, because a flake could name such a file
// as its input and make Nix copy it into the store. Programs get the location from the environment
// or as an option, never the contents.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/config/build_options.hpp"
#include "server/builder/isolation.hpp"

namespace nixbuild::builder {

class Credentials {
 public:
  Credentials() = default;
  // Uses the files from systemd ($CREDENTIALS_DIRECTORY has a file with the setting's name),
  // otherwise those from the configuration. Throws UsageError if one cannot be read, or if the
  // tokens are not in the format of Nix's setting.
  explicit Credentials(const config::Repository& repository);

  bool empty() const noexcept { return files_.empty(); }
  // Hides the files at their original paths.
  void hide_in(View& view) const;
  // Makes them visible to programs, under other names.
  void show_in(View& view) const;
  // Without isolation, programs can see everything: puts links to the files into `directory`.
  void link_in(const std::filesystem::path& directory);

  // The environment for programs that need the credentials.
  std::vector<std::pair<std::string, std::optional<std::string>>> environment() const;
  std::vector<std::pair<std::string, std::string>> nix_options() const;
  // What such a program said, without the place of the files.
  std::string without_place(std::string_view text) const;

 private:
  std::filesystem::path place_of(const char* name) const;

  std::filesystem::path directory_;
  std::vector<std::pair<std::filesystem::path, std::string>> files_;  // and their names in it
};

}  // namespace nixbuild::builder
