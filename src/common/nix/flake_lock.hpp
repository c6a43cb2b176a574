// A flake's lock file: the revision and origin of each input.
// Source: the Nix manual, `nix flake`, "Lock files". Versions 5 to 7, of Nix 2.4 and later.
//
// The file is a graph. The root node's inputs are those that flake.nix names. The value of an input
// is a node's key, or a path of input names from the root, if it follows another input.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nixbuild::nix {

// The origin of an input, however it was written: "github:NixOS/nixpkgs" and
// "https://github.com/nixos/nixpkgs.git" are the same place.
struct Origin {
  std::string place;               // "github.com/nixos/nixpkgs", "/srv/git/config", "flake:nixpkgs"
  std::optional<std::string> ref;  // branch or tag, if one is named
  std::string dir;                 // directory of the flake in it
  bool is_fixed = false;           // names a commit, so it never changes

  friend bool operator==(const Origin&, const Origin&) = default;
};

// From a flake reference's attributes, such as a node's "original".
Origin origin_of(const nlohmann::json& reference);
// The place of a git repository: a URL, host:path in ssh's form, or an absolute path.
std::string place_of_url(std::string_view url);

class FlakeLock {
 public:
  // Throws FormatError.
  static FlakeLock parse(std::string_view text);
  FlakeLock(const FlakeLock& other);
  FlakeLock(FlakeLock&& other) noexcept;
  FlakeLock& operator=(const FlakeLock& other);
  FlakeLock& operator=(FlakeLock&& other) noexcept;
  ~FlakeLock();

  // In Nix's format.
  std::string text() const;

  // The root's inputs, except those that follow another.
  std::vector<std::string> inputs() const;
  // The node of one of these; nullptr if there is no such input.
  const nlohmann::json* input(const std::string& name) const;
  // A node's reference as written in flake.nix, and as locked; empty objects if absent.
  static const nlohmann::json& original_of(const nlohmann::json& node);
  static const nlohmann::json& locked_of(const nlohmann::json& node);

  // Every node except the root, reachable or not, with its key.
  std::vector<std::pair<std::string, const nlohmann::json*>> nodes() const;
  // The inputs and their inputs, except those that follow another, by path: "tools/nixpkgs". Throws
  // FormatError if they form a cycle or are more than 10,000.
  std::map<std::string, const nlohmann::json*> input_tree() const;

  // Locks input `name` to `locked`, and its own inputs to what `other` has below its root or, with
  // Below::same_input, below its input of the same name. Where this flake makes an input of `name`
  // follow another, it still does.
  enum class Below { root, same_input };
  void take(const std::string& name, nlohmann::json locked, const FlakeLock& other, Below below);
  // Locks input `name` to `locked`; its own inputs stay the same.
  void pin(const std::string& name, nlohmann::json locked);

 private:
  explicit FlakeLock(nlohmann::json json);

  const nlohmann::json* find(const std::string& key) const;
  const std::string& root_key() const;
  struct Graft;
  nlohmann::json graft_inputs(Graft& graft, const std::string& other_key,
                              const nlohmann::json* former, std::vector<std::string> path);
  std::string new_key(Graft& graft, const std::string& wanted) const;
  void drop_unreachable();

  // A pointer, so that only files that read JSON need the complete type.
  std::unique_ptr<nlohmann::json> json_;
};

// Whether this version of Nix ("nix (Nix) 2.26.3") supports `nix flake update INPUT`; before 2.19
// the command is `nix flake lock --update-input INPUT`.
bool updates_by_name(std::string_view nix_version);

}  // namespace nixbuild::nix
