#include "server/http/html.hpp"

#include <doctest/doctest.h>

TEST_CASE("text in HTML") {
  using nixbuild::http::escape_html;
  CHECK(escape_html("<a href=\"x\">'&'</a>") ==
        "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;");
  CHECK(escape_html("größe") == "größe");
}
