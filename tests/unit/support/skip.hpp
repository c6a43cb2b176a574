// For a test case that cannot run on this machine: say why with skip(), and return.
#pragma once

#include <doctest/doctest.h>

#include <iostream>
#include <string_view>

namespace nixbuild::test {

// To be called once in a test case. tools/lib/results.py reads the line: the case counts as
// skipped, not as passed. In CI the reason must be listed in tools/lib/skips.
inline void skip(std::string_view reason) {
  std::cout << "[skipped] " << reason << std::endl;
}

}  // namespace nixbuild::test
