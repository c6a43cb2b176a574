// A reference of the configuration file, generated from the settings.
#pragma once

#include <string>

namespace nixbuild::cli {

// Every key of every table, with the form of its value, its meaning and its default, as lines of
// help below a heading for each table.
std::string settings_reference();

}  // namespace nixbuild::cli
