// Shared by the tests of Nix's formats.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "../support/temporary_directory.hpp"
#include "common/nix/nar.hpp"

namespace nixbuild::nix::test {

using nixbuild::test::TemporaryDirectory;

// The directories of vectors/, one a version of Nix that made them.
std::vector<std::filesystem::path> vector_sets();
// Throws if the file does not exist.
std::string content_of(const std::filesystem::path& path);
std::vector<std::string> lines_of(const std::filesystem::path& path);
std::vector<std::string> words_of(std::string_view line);

void write(const std::filesystem::path& path, std::string_view content, bool executable = false);

// Checks that the pieces are of bounded size.
std::string dump(const std::filesystem::path& path);
// Feeds `nar` in pieces of `piece` bytes.
void parse(std::string_view nar, NarEvents& events, std::size_t piece = std::string_view::npos);
NarListing listing_of(std::string_view nar, std::size_t piece = std::string_view::npos);
// Creates what `nar` describes at `to`, which must not exist.
void restore(std::string_view nar, const std::filesystem::path& to);

// One word of a NAR by the format's definition: length, bytes, padding.
std::string nar_word(std::string_view text);
template <typename... Words>
std::string nar_words(const Words&... words) {
  return (nar_word(words) + ...);
}
// The NAR of `path`, made in the slow and obvious way.
std::string nar_by_definition(const std::filesystem::path& path);

}  // namespace nixbuild::nix::test
