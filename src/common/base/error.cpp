#include "common/base/error.hpp"

#include <fmt/format.h>

#include <system_error>

namespace nixbuild {

SystemError::SystemError(int error_number, std::string_view what)
    : Error(fmt::format("{}: {}", what, std::generic_category().message(error_number))),
      error_number_(error_number) {}

}  // namespace nixbuild
