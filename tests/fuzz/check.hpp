// How a fuzz target says that what it found is wrong.
#pragma once

#include <cstdio>
#include <cstdlib>

// Unlike assert, whatever the build's options.
#define CHECK(condition)                                                           \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                \
    }                                                                              \
  } while (false)
