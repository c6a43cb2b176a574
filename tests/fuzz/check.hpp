// Reports a failure in a fuzz target.
#pragma once

#include <cstdio>
#include <cstdlib>

// Unlike assert, active in every build.
#define CHECK(condition)                                                           \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                \
    }                                                                              \
  } while (false)
