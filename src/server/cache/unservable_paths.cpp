#include "server/cache/unservable_paths.hpp"

namespace nixbuild::cache {
namespace {

constexpr std::chrono::minutes remembered_for{1};
constexpr std::size_t most_remembered = 10'000;

}  // namespace

void UnservablePaths::add(const nix::StorePath& path) {
  const std::lock_guard lock(mutex_);
  if (until_.size() >= most_remembered) until_.clear();
  until_[path] = Clock::now() + remembered_for;
  count_ = until_.size();
}

bool UnservablePaths::find(const nix::StorePath& path) const {
  const std::lock_guard lock(mutex_);
  const auto entry = until_.find(path);
  if (entry == until_.end()) return false;
  if (Clock::now() < entry->second) return true;
  until_.erase(entry);
  count_ = until_.size();
  return false;
}

}  // namespace nixbuild::cache
