#include "server/builder/local_store.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "common/base/files.hpp"
#include "server/builder/derivation_file.hpp"

namespace nixbuild::builder {
namespace {

std::string environment(const char* name, std::string otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? std::move(otherwise) : std::string(value);
}

store::StoreLayout layout_by_environment() {
  const std::string store_dir =
      environment("NIX_STORE_DIR", environment("NIX_STORE", "/nix/store"));
  const std::string state_dir = environment("NIX_STATE_DIR", "/nix/var/nix");
  const std::string log_dir = environment("NIX_LOG_DIR", "/nix/var/log/nix");
  return {nix::StoreDir(store_dir), store_dir, state_dir, log_dir};
}

// A size that cannot be found out is left out; a build does not wait for it.
constexpr std::chrono::milliseconds patience{100};

}  // namespace

LocalStore::LocalStore() : reader_(layout_by_environment(), patience) {}

std::optional<std::uint64_t> LocalStore::nar_size(const std::string& path) {
  const auto store_path = layout().store_dir.parse(path);
  if (!store_path) return std::nullopt;
  try {
    const auto info = reader_.now_or_wait([&](store::StoreDatabase& database) {
      return database.query_path_info(store_path->hash_part());
    });
    if (!info) return std::nullopt;
    return info->nar_size;
  } catch (const store::StoreUnavailable&) {
    return std::nullopt;
  } catch (const FormatError&) {
    return std::nullopt;
  }
}

bool LocalStore::is_built(const std::string& derivation) {
  const auto store_path = layout().store_dir.parse(derivation);
  if (!store_path) return false;
  std::optional<std::string> text;
  try {
    text = read_file(layout().real_path(*store_path));
  } catch (const Error&) {
    return false;
  }
  const auto outputs = text ? derivation_outputs(*text) : std::nullopt;
  return outputs && std::all_of(outputs->begin(), outputs->end(), [this](const std::string& path) {
           return !path.empty() && nar_size(path).has_value();
         });
}

}  // namespace nixbuild::builder
