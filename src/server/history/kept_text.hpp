// Limits the text that the history keeps of a build. Texts from repositories and builders can be of
// any length, and are sent to every client that requests a build.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "common/protocol/types.hpp"

namespace nixbuild::history {

// In bytes.
constexpr std::size_t target_text_limit = std::size_t{64} << 10;  // error and log of one target
constexpr std::size_t build_text_limit = std::size_t{1} << 20;    // of all targets of a build
constexpr std::size_t build_error_limit = 4096;
constexpr std::size_t commit_text_limit = 1024;  // subject, author
// A list of builds ends before exceeding this, unless the first build alone does.
constexpr std::size_t list_text_limit = std::size_t{1} << 20;

// `text`, or its beginning and "…", in at most `limit` bytes; never splits a UTF-8 character.
std::string shortened(std::string_view text, std::size_t limit);

// How many bytes each target of a build may keep, so that together they stay within the limits:
// short texts are kept completely, the others share the rest equally.
std::size_t text_allowance(const std::vector<protocol::Target>& targets);

struct KeptText {
  std::string error;     // its beginning
  std::string log_tail;  // its end: whole lines, including line ends
};
KeptText kept_text(const protocol::Target& target, std::size_t allowance);

}  // namespace nixbuild::history
