// Text in HTML pages.
#pragma once

#include <string>
#include <string_view>

namespace nixbuild::http {

// Escapes `text` for HTML, including attribute values.
std::string escape_html(std::string_view text);

}  // namespace nixbuild::http
