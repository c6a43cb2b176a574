// For event loops: an exception while handling one event must not affect any other.
#pragma once

#include <exception>
#include <string_view>
#include <utility>

#include "common/base/log.hpp"

namespace nixbuild::http {

// Runs `work`. Logs any exception, prefixed with `whom`; returns whether it succeeded.
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
  } catch (...) {  // not even memory for the log line
  }
  return false;
}

}  // namespace nixbuild::http
