#include "server/builder/disk_space.hpp"

#include <doctest/doctest.h>

using namespace nixbuild::builder;

TEST_CASE("messages of full disks") {
  CHECK(tells_of_full_disk("error: writing to file: No space left on device"));
  CHECK(tells_of_full_disk("/state/history.sqlite: database or disk is full"));
  CHECK_FALSE(tells_of_full_disk("builder failed with exit code 1"));
}

TEST_CASE("each file system is named once") {
  const std::string space = free_space({"/no/such/place", "/proc", "/proc/self", "/"});
  CHECK(space.starts_with("free: 0 MiB at /proc, "));
  CHECK(space.ends_with(" MiB at /"));
  CHECK(space.find("self") == std::string::npos);
  CHECK(free_space({"/no/such/place"}).empty());
}
