// Commands as a person can paste them into a shell. The program itself runs nothing through one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nixbuild {

// `word` unquoted if every POSIX shell reads it as one literal word, otherwise quoted.
std::string shell_word(std::string_view word);
// The words, quoted if necessary and separated by spaces.
std::string shell_command(const std::vector<std::string>& words);

}  // namespace nixbuild
