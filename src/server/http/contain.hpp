// For event loops: what one event's work throws must reach nobody else's.
#pragma once

#include <exception>
#include <string_view>
#include <utility>

#include "common/base/log.hpp"

namespace nixbuild::http {

// Does `work`. What it throws is logged, as having happened to `whom`; returns whether it threw
// nothing.
template <typename Work>
bool contain(std::string_view whom, Work&& work) noexcept {
  try {
    try {
      std::forward<Work>(work)();
      return true;
    } catch (const std::exception& error) {
      log::error("{}: {}", whom, error.what());
    } catch (...) {
      log::error("{}: unknown exception", whom);
    }
  } catch (...) {  // no memory even for the log's line
  }
  return false;
}

}  // namespace nixbuild::http
