#include "common/nix/flake_lock.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "common/base/error.hpp"

namespace nixbuild::nix {
namespace {

using Json = nlohmann::json;
using Path = std::vector<std::string>;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return text;
}

// The text of an attribute; empty if it is absent.
std::string text_of(const Json& object, const char* key) {
  if (!object.is_object()) return {};
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::string without_end(std::string text, std::string_view end) {
  if (text.ends_with(end)) text.resize(text.size() - end.size());
  return text;
}

std::string trimmed(std::string path) {
  while (path.size() > 1 && path.ends_with('/'))
    path.pop_back();
  return without_end(std::move(path), ".git");
}

// Without the user before the host, which ends at one of `ends`.
std::string_view without_user(std::string_view url, std::string_view ends) {
  const std::size_t at = url.substr(0, url.find_first_of(ends)).rfind('@');
  if (at != std::string_view::npos) url.remove_prefix(at + 1);
  return url;
}

std::string_view usual_port(std::string_view protocol) {
  if (protocol == "https") return ":443";
  if (protocol == "http") return ":80";
  if (protocol == "ssh") return ":22";
  if (protocol == "git") return ":9418";
  return {};
}

std::string_view without_port(std::string_view host, std::string_view port) {
  if (!port.empty() && host.ends_with(port)) host.remove_suffix(port.size());
  return host;
}

// The host that a type of flake reference stands for.
std::string forge_of(const std::string& type) {
  if (type == "github") return "github.com";
  if (type == "gitlab") return "gitlab.com";
  if (type == "sourcehut") return "git.sr.ht";
  return {};
}

bool is_path(const Json& value) {
  return value.is_array() &&
         std::all_of(value.begin(), value.end(), [](const Json& part) { return part.is_string(); });
}

bool begins_with(const Path& path, const Path& prefix) {
  return path.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), path.begin());
}

// Nix gives each input its own node. If nodes are shared, or contain themselves, following them
// would not end.
constexpr std::size_t most_deep = 64;
constexpr std::size_t most_nodes = 10'000;

void check_node(const Json& nodes, const std::string& key, const Json& node) {
  if (!node.is_object()) throw FormatError(fmt::format("flake.lock: node '{}' is no object", key));
  const auto is_reference = [&](const char* name) {
    const auto found = node.find(name);
    if (found == node.end()) return true;
    return found->is_object() && (!found->contains("type") || found->at("type").is_string());
  };
  if (!is_reference("original") || !is_reference("locked") ||
      (node.contains("flake") && !node.at("flake").is_boolean())) {
    throw FormatError(fmt::format("flake.lock: node '{}' is not of the form it should be", key));
  }
  const auto inputs = node.find("inputs");
  if (inputs == node.end()) return;
  if (!inputs->is_object()) {
    throw FormatError(fmt::format("flake.lock: the inputs of node '{}' are no object", key));
  }
  for (const auto& [name, value] : inputs->items()) {
    const bool is_node = value.is_string() && nodes.contains(value.get<std::string>());
    if (!is_node && !is_path(value)) {
      throw FormatError(fmt::format(
          "flake.lock: input '{}' of node '{}' is neither a node nor a path", name, key));
    }
  }
}

}  // namespace

std::string place_of_url(std::string_view url) {
  url = url.substr(0, url.find_first_of("?#"));
  if (url.starts_with("git+")) url.remove_prefix(4);
  if (url.starts_with('/')) return trimmed(std::string(url));
  const std::size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) {
    // git@github.com:owner/name, or with an absolute path, git@host:/srv/name
    const std::string_view text = without_user(url, ":/");
    const std::size_t colon = text.find(':');
    if (colon == std::string_view::npos) return lower(trimmed(std::string(text)));
    std::string_view path = text.substr(colon + 1);
    while (path.starts_with('/'))
      path.remove_prefix(1);
    return lower(trimmed(fmt::format("{}/{}", text.substr(0, colon), path)));
  }
  const std::string_view protocol = url.substr(0, scheme);
  url.remove_prefix(scheme + 3);
  if (protocol == "file") return trimmed(std::string(url));
  url = without_user(url, "/");
  const std::size_t path = std::min(url.find('/'), url.size());
  const std::string_view host = without_port(url.substr(0, path), usual_port(protocol));
  return lower(trimmed(fmt::format("{}{}", host, url.substr(path))));
}

Origin origin_of(const Json& reference) {
  Origin origin;
  const std::string type = text_of(reference, "type");
  if (const std::string forge = forge_of(type); !forge.empty()) {
    const std::string host = text_of(reference, "host");
    origin.place = lower(fmt::format("{}/{}/{}", host.empty() ? forge : host,
                                     text_of(reference, "owner"), text_of(reference, "repo")));
  } else if (type == "indirect") {
    origin.place = "flake:" + text_of(reference, "id");
  } else if (type == "git") {
    origin.place = place_of_url(text_of(reference, "url"));
  } else {
    const std::string url = text_of(reference, "url");
    origin.place = fmt::format("{}:{}", type, url.empty() ? text_of(reference, "path") : url);
  }
  if (const std::string ref = text_of(reference, "ref"); !ref.empty()) {
    constexpr std::string_view heads = "refs/heads/";
    origin.ref = ref.starts_with(heads) ? ref.substr(heads.size()) : ref;
  }
  origin.dir = text_of(reference, "dir");
  origin.is_fixed = !text_of(reference, "rev").empty();
  return origin;
}

FlakeLock FlakeLock::parse(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) throw FormatError("flake.lock: not JSON");
  const auto version = json.find("version");
  if (version == json.end() || !version->is_number_integer() || *version < 5 || *version > 7) {
    throw FormatError("flake.lock: unsupported version; versions 5 to 7 are supported");
  }
  const auto nodes = json.find("nodes");
  const auto root = json.find("root");
  if (nodes == json.end() || !nodes->is_object() || root == json.end() || !root->is_string() ||
      !nodes->contains(root->get<std::string>())) {
    throw FormatError("flake.lock: it has no root node");
  }
  for (const auto& [key, node] : nodes->items())
    check_node(*nodes, key, node);
  return FlakeLock(std::move(json));
}

FlakeLock::FlakeLock(Json json) : json_(std::make_unique<Json>(std::move(json))) {}
FlakeLock::FlakeLock(const FlakeLock& other) : FlakeLock(*other.json_) {}
FlakeLock::FlakeLock(FlakeLock&& other) noexcept = default;
FlakeLock& FlakeLock::operator=(const FlakeLock& other) {
  json_ = std::make_unique<Json>(*other.json_);
  return *this;
}
FlakeLock& FlakeLock::operator=(FlakeLock&& other) noexcept = default;
FlakeLock::~FlakeLock() = default;

std::string FlakeLock::text() const {
  return json_->dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

const std::string& FlakeLock::root_key() const {
  return json_->at("root").get_ref<const std::string&>();
}

const Json* FlakeLock::find(const std::string& key) const {
  const Json& nodes = json_->at("nodes");
  const auto found = nodes.find(key);
  return found == nodes.end() ? nullptr : &*found;
}

std::vector<std::string> FlakeLock::inputs() const {
  std::vector<std::string> names;
  const Json* root = find(root_key());
  if (!root->contains("inputs")) return names;
  for (const auto& [name, value] : root->at("inputs").items()) {
    if (value.is_string()) names.push_back(name);
  }
  return names;
}

const Json* FlakeLock::input(const std::string& name) const {
  const Json* root = find(root_key());
  const auto inputs = root->find("inputs");
  if (inputs == root->end()) return nullptr;
  const auto value = inputs->find(name);
  if (value == inputs->end() || !value->is_string()) return nullptr;
  return find(value->get<std::string>());
}

const Json& FlakeLock::original_of(const Json& node) {
  static const Json none = Json::object();
  const auto found = node.find("original");
  return found != node.end() && found->is_object() ? *found : none;
}

const Json& FlakeLock::locked_of(const Json& node) {
  static const Json none = Json::object();
  const auto found = node.find("locked");
  return found != node.end() && found->is_object() ? *found : none;
}

std::vector<std::pair<std::string, const Json*>> FlakeLock::nodes() const {
  std::vector<std::pair<std::string, const Json*>> result;
  for (const auto& [key, node] : json_->at("nodes").items()) {
    if (key != root_key()) result.emplace_back(key, &node);
  }
  return result;
}

std::map<std::string, const Json*> FlakeLock::input_tree() const {
  struct Open {
    std::string path;
    const Json* node;
    std::size_t depth;
  };
  std::map<std::string, const Json*> tree;
  std::vector<Open> open = {{"", find(root_key()), 0}};
  while (!open.empty()) {
    const Open one = std::move(open.back());
    open.pop_back();
    const auto inputs = one.node->find("inputs");
    if (inputs == one.node->end()) continue;
    for (const auto& [name, value] : inputs->items()) {
      if (!value.is_string()) continue;
      const std::string path = one.path.empty() ? name : fmt::format("{}/{}", one.path, name);
      const Json* node = find(value.get<std::string>());
      tree[path] = node;
      if (one.depth >= most_deep || tree.size() > most_nodes) {
        throw FormatError("flake.lock: its inputs form a cycle");
      }
      open.push_back({path, node, one.depth + 1});
    }
  }
  return tree;
}

// The constant state while one input's tree is copied.
struct FlakeLock::Graft {
  const FlakeLock& other;
  Path here;    // the tree's path in this lock
  Path there;   // the tree's path in the other lock
  Json former;  // this lock's nodes before the change
  std::size_t nodes = 0;
  std::map<std::string, unsigned> numbers;  // the last number used for nodes of a name

  // Translates a path of input names in the other lock to this lock. Paths outside of the tree stay
  // the same: if flake.nix says something else, Nix notices and looks into the input itself.
  Json path(const Json& value) const {
    const auto names = value.get<Path>();
    if (!begins_with(names, there)) return value;
    Path result = here;
    result.insert(result.end(), names.begin() + static_cast<std::ptrdiff_t>(there.size()),
                  names.end());
    return result;
  }
};

std::string FlakeLock::new_key(Graft& graft, const std::string& wanted) const {
  unsigned& number = graft.numbers[wanted];
  std::string key;
  do {
    ++number;
    key = number == 1 ? wanted : fmt::format("{}_{}", wanted, number);
  } while (find(key) != nullptr);
  return key;
}

// The inputs of the other lock's node `other_key`, with their nodes copied into this lock. `former`
// is the previous node at this place; `path` is the path of inputs to it.
Json FlakeLock::graft_inputs(Graft& graft, const std::string& other_key, const Json* former,
                             Path path) {
  if (path.size() > most_deep || graft.nodes > most_nodes) {
    throw FormatError("flake.lock: its inputs form a cycle");
  }
  Json result = Json::object();
  const Json* node = graft.other.find(other_key);
  if (!node->contains("inputs")) return result;
  const Json former_inputs =
      former != nullptr && former->contains("inputs") ? former->at("inputs") : Json::object();
  for (const auto& [name, value] : node->at("inputs").items()) {
    const auto stands = former_inputs.find(name);
    // Only this flake itself can make an input of the tree follow one outside of it.
    const bool is_override = stands != former_inputs.end() && is_path(*stands) &&
                             !begins_with(stands->get<Path>(), graft.here);
    if (is_override) {
      result[name] = *stands;
    } else if (is_path(value)) {
      result[name] = graft.path(value);
    } else {
      ++graft.nodes;
      const auto key = value.get<std::string>();
      Json copy = *graft.other.find(key);
      copy.erase("inputs");
      if (copy.contains("parent") && is_path(copy["parent"])) {
        copy["parent"] = graft.path(copy["parent"]);
      }
      std::optional<Json> former_node;
      if (stands != former_inputs.end() && stands->is_string()) {
        former_node = graft.former.at(stands->get<std::string>());
      }
      const std::string mine = new_key(graft, name);
      (*json_)["nodes"][mine] = copy;  // reserves the key
      Path deeper = path;
      deeper.push_back(name);
      Json inputs =
          graft_inputs(graft, key, former_node ? &*former_node : nullptr, std::move(deeper));
      if (!inputs.empty()) (*json_)["nodes"][mine]["inputs"] = std::move(inputs);
      result[name] = mine;
    }
  }
  return result;
}

void FlakeLock::take(const std::string& name, Json locked, const FlakeLock& other, Below below) {
  Graft graft{other, {name}, {}, (*json_)["nodes"], 0, {}};
  std::string other_key = other.root_key();
  if (below == Below::same_input) {
    other_key = other.find(other_key)->at("inputs").at(name).get<std::string>();
    graft.there = {name};
  }
  pin(name, std::move(locked));
  const std::string key = (*json_)["nodes"][root_key()]["inputs"][name].get<std::string>();
  // Removed nodes free their keys for the new ones, so that the same tree has the same keys.
  (*json_)["nodes"][key].erase("inputs");
  drop_unreachable();
  const Json former = graft.former.at(key);
  Json inputs = graft_inputs(graft, other_key, &former, {name});
  if (!inputs.empty()) (*json_)["nodes"][key]["inputs"] = std::move(inputs);
}

void FlakeLock::pin(const std::string& name, Json locked) {
  const std::string key = (*json_)["nodes"][root_key()]["inputs"][name].get<std::string>();
  (*json_)["nodes"][key]["locked"] = std::move(locked);
}

void FlakeLock::drop_unreachable() {
  std::set<std::string> reached;
  std::vector<std::string> open = {root_key()};
  while (!open.empty()) {
    const std::string key = open.back();
    open.pop_back();
    if (!reached.insert(key).second) continue;
    const Json& node = *find(key);
    if (!node.contains("inputs")) continue;
    for (const auto& [name, value] : node.at("inputs").items()) {
      if (value.is_string()) open.push_back(value.get<std::string>());
    }
  }
  Json nodes = Json::object();
  for (const std::string& key : reached)
    nodes[key] = std::move((*json_)["nodes"][key]);
  (*json_)["nodes"] = std::move(nodes);
}

bool updates_by_name(std::string_view nix_version) {
  nix_version = nix_version.substr(0, nix_version.find('\n'));
  nix_version.remove_prefix(nix_version.rfind(' ') + 1);
  unsigned major = 0;
  unsigned minor = 0;
  const char* end = nix_version.data() + nix_version.size();
  const auto [dot, error] = std::from_chars(nix_version.data(), end, major);
  if (error != std::errc()) return true;
  if (dot != end && *dot == '.') std::from_chars(dot + 1, end, minor);
  return major > 2 || (major == 2 && minor >= 19);
}

}  // namespace nixbuild::nix
