// What a private repository and its inputs are fetched with: files that git, ssh and the part of
// Nix that fetches inputs are shown, and nothing else of a build.
//
// They appear in a directory whose name nobody can guess, for a flake could name a file as its
// input and so have Nix copy it into the store. The programs learn the place by their environment
// or as an option, never what is in the files.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/config/build_options.hpp"
#include "server/builder/isolation.hpp"

namespace nixbuild::builder {

class Credentials {
 public:
  Credentials() = default;
  // Those that systemd hands over ($CREDENTIALS_DIRECTORY has a file with the setting's name) and,
  // for the others, those that the configuration names. Throws UsageError if one cannot be read or
  // if the tokens are not in the form of Nix's setting.
  explicit Credentials(const config::Repository& repository);

  bool empty() const noexcept { return files_.empty(); }
  // Keeps the files out of sight in their own places.
  void hide_in(View& view) const;
  // Adds them, under other names, to what programs see.
  void show_in(View& view) const;
  // Without isolation: puts links to them into `directory`, for programs that see everything.
  void link_in(const std::filesystem::path& directory);

  // For programs that are to use them.
  std::vector<std::pair<std::string, std::optional<std::string>>> environment() const;
  std::vector<std::pair<std::string, std::string>> nix_options() const;

 private:
  std::filesystem::path place_of(const char* name) const;

  std::filesystem::path directory_;
  std::vector<std::pair<std::filesystem::path, std::string>> files_;  // and their names in it
};

}  // namespace nixbuild::builder
