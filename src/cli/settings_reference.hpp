// What can stand in the configuration file, told from the settings themselves.
#pragma once

#include <string>

namespace nixbuild::cli {

// Every key of every table, with the form of its value, its meaning and its default, as lines of
// help below a heading for each table.
std::string settings_reference();

}  // namespace nixbuild::cli
