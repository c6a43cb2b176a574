// A configuration file: an error names the file and line; an accepted file can be written again as
// an equivalent one.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "check.hpp"
#include "common/base/error.hpp"
#include "common/base/unique_fd.hpp"
#include "common/config/configuration.hpp"

using namespace nixbuild;
using namespace nixbuild::config;

namespace {

std::optional<std::string> no_environment(const std::string&) {
  return std::nullopt;
}

// False if `text` is refused.
bool load(Configuration& configuration, std::string_view text) {
  const UniqueFd file(::memfd_create("config.toml", MFD_CLOEXEC));
  CHECK(file);
  CHECK(::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  const std::string path = "/proc/self/fd/" + std::to_string(file.get());
  try {
    configuration.load(path, no_environment);
    return true;
  } catch (const UsageError& error) {
    CHECK(std::string_view(error.what()).starts_with(path + ":"));
    return false;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Configuration configuration;
  if (!load(configuration, {reinterpret_cast<const char*>(data), size})) return 0;
  std::vector<Repository> repositories;
  try {
    repositories = configuration.repositories.repositories();
  } catch (const UsageError&) {
    return 0;  // without a URL, which a later file could have set
  }
  Configuration again;
  CHECK(load(again, render(configuration)));
  CHECK(configuration.settings.all().size() == again.settings.all().size());
  for (std::size_t i = 0; i < again.settings.all().size(); ++i)
    CHECK(configuration.settings.all()[i].show() == again.settings.all()[i].show());
  const auto those = again.repositories.repositories();
  CHECK(repositories.size() == those.size());
  for (std::size_t i = 0; i < those.size(); ++i) {
    CHECK(repositories[i].name == those[i].name);
    CHECK(repositories[i].branch == those[i].branch);
    CHECK(repositories[i].targets == those[i].targets);
  }
  return 0;
}
