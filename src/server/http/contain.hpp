// For event loops: an exception from one event's work must not affect any other's.
#pragma once

#include <exception>
#include <string_view>
#include <utility>

#include "common/base/log.hpp"

namespace nixbuild::http {

// Runs `work`. Logs what it throws, prefixed with `whom`; returns whether it succeeded.
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
