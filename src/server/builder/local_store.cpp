#include "server/builder/local_store.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "common/base/error.hpp"
#include "common/base/files.hpp"

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

// The derivation for all targets of a large repository can be several megabytes.
constexpr std::size_t most_derivation_bytes = std::size_t{64} << 20;

// How long to wait for a size: a build does without it rather than wait longer.
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

bool LocalStore::is_store_path(std::string_view path) const {
  return layout().store_dir.parse(path).has_value();
}

bool LocalStore::is_derivation(std::string_view path) const {
  const auto store_path = layout().store_dir.parse(path);
  return store_path && store_path->is_derivation();
}

std::optional<Derivation> LocalStore::derivation(std::string_view path) const {
  const auto store_path = layout().store_dir.parse(path);
  if (!store_path || !store_path->is_derivation()) return std::nullopt;
  try {
    // Evaluation can create symbolic links and directories of any name in the store.
    const auto text =
        read_file_beneath(layout().real_store_dir, store_path->base_name(), most_derivation_bytes);
    return text ? parse_derivation(*text) : std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

bool LocalStore::is_built(const std::string& path) {
  const auto built = derivation(path);
  return built && !built->outputs.empty() &&
         std::all_of(built->outputs.begin(), built->outputs.end(),
                     [this](const Derivation::Output& output) {
                       return nar_size(output.path).has_value();
                     });
}

}  // namespace nixbuild::builder
