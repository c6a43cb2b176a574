// A flake's lock file: what each of its inputs is, and from where.
// Source: the Nix manual, `nix flake`, "Lock files". Versions 5 to 7, of Nix 2.4 and later.
//
// The file is a graph. The root node's inputs are those that flake.nix names; the value of an input
// is a node's key, or a path of input names from the root that it follows.
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

// Where an input comes from, however it was written: "github:NixOS/nixpkgs" and
// "https://github.com/nixos/nixpkgs.git" are one place.
struct Origin {
  std::string place;               // "github.com/nixos/nixpkgs", "/srv/git/config", "flake:nixpkgs"
  std::optional<std::string> ref;  // branch or tag, where one is named
  std::string dir;                 // of the flake in it
  bool is_fixed = false;           // a commit is named: it means that one for ever

  friend bool operator==(const Origin&, const Origin&) = default;
};

// Of a flake reference's attributes, such as a node's "original".
Origin origin_of(const nlohmann::json& reference);
// The place of a git repository: a URL, host:path as ssh has it, or an absolute path.
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

  // As Nix writes it.
  std::string text() const;

  // The root's inputs, without those that follow another.
  std::vector<std::string> inputs() const;
  // The node of one of these; nullptr when there is none.
  const nlohmann::json* input(const std::string& name) const;
  // A node's reference as flake.nix has it, and as it is locked; empty objects where it has none.
  static const nlohmann::json& original_of(const nlohmann::json& node);
  static const nlohmann::json& locked_of(const nlohmann::json& node);

  // Every node but the root, whether an input leads to it or not, with its key.
  std::vector<std::pair<std::string, const nlohmann::json*>> nodes() const;
  // The inputs and their inputs, without those that follow another, by their path: "tools/nixpkgs".
  // Throws FormatError if they form a cycle or are more than 10,000.
  std::map<std::string, const nlohmann::json*> input_tree() const;

  // Locks input `name` to `locked`, and its own inputs as `other` has them below its root, or, with
  // Below::same_input, below its input of the same name. What this flake lets an input of `name`
  // follow stays.
  enum class Below { root, same_input };
  void take(const std::string& name, nlohmann::json locked, const FlakeLock& other, Below below);
  // Locks input `name` to `locked`; its own inputs stay.
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

  // Behind a pointer, so that the type is complete only where JSON is read.
  std::unique_ptr<nlohmann::json> json_;
};

// Whether this version of Nix ("nix (Nix) 2.26.3") takes `nix flake update INPUT`; before 2.19 it
// is `nix flake lock --update-input INPUT`.
bool updates_by_name(std::string_view nix_version);

}  // namespace nixbuild::nix
