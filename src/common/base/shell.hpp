// Commands as a person can paste them into a shell. The program itself runs nothing through one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nixbuild {

// `word` as it is where every POSIX shell takes it as one word, else in quotes.
std::string shell_word(std::string_view word);
// The words with spaces in between.
std::string shell_command(const std::vector<std::string>& words);

}  // namespace nixbuild
