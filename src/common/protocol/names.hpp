// The names of the enumerators of types.hpp, each written once. They are the same in JSON, in the
// history's database and in output for people.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>
#include <type_traits>

#include "common/protocol/types.hpp"

namespace nixbuild::protocol {

template <typename... Name>
constexpr std::array<std::string_view, sizeof...(Name)> words(const Name&... name) {
  return {name...};
}

// A build's phases, in order. They are strings in types.hpp, so that clients can show phases that
// they do not know.
namespace phase {
constexpr const char* queued = "queued";
constexpr const char* fetch = "fetch";
constexpr const char* inputs = "inputs";
constexpr const char* evaluate = "evaluate";
constexpr const char* build = "build";
constexpr const char* finish = "finish";
constexpr const char* done = "done";
}  // namespace phase

// In the order of config::Lock.
constexpr auto lock_kinds = words("updated", "committed", "both");

// In the order of the enumerators, except the last, `unknown`.
template <typename Enum>
constexpr std::array<std::string_view, 0> names = {};
template <>
inline constexpr auto names<BuildState> =
    words("queued", "running", "success", "failed", "cancelled");
template <>
inline constexpr auto names<BuildResult> = words("success", "failed");
template <>
inline constexpr auto names<TargetResult> =
    words("pending", "success", "failed", "evaluation failed", "skipped");
template <>
inline constexpr auto names<TriggerResult> = words("triggered", "already_running");
template <>
inline constexpr auto names<CancelResult> = words("cancelled", "not_running");
template <>
inline constexpr auto names<HealthState> = words("healthy", "degraded");

// "unknown" for Enum::unknown.
template <typename Enum>
constexpr std::string_view name_of(Enum value) noexcept {
  constexpr auto& all = names<Enum>;
  static_assert(all.size() == static_cast<std::size_t>(Enum::unknown));
  const auto index = static_cast<std::size_t>(value);
  return index < all.size() ? all[index] : std::string_view("unknown");
}

// Enum::unknown for any other name.
template <typename Enum>
constexpr Enum value_of(std::string_view name) noexcept {
  std::size_t index = 0;
  while (index < names<Enum>.size() && names<Enum>[index] != name)
    ++index;
  return static_cast<Enum>(index);
}

}  // namespace nixbuild::protocol
