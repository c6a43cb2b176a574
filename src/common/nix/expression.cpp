#include "common/nix/expression.hpp"

#include <sys/utsname.h>

#include <algorithm>
#include <cerrno>

#include "common/base/error.hpp"

namespace nixbuild::nix {

std::string nix_string(std::string_view text) {
  std::string literal = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
      case '\\':
      case '$':
        literal += '\\';
        literal += c;
        break;
      case '\n':
        literal += "\\n";
        break;
      case '\r':
        literal += "\\r";
        break;  // Nix would read an unescaped one as a line end
      default:
        literal += c;
    }
  }
  return literal + '"';
}

std::string this_system() {
  utsname name{};
  if (::uname(&name) != 0) throw SystemError(errno, "asking for this machine's name");
  std::string machine = name.machine;
  if (machine.size() == 4 && machine.starts_with('i') && machine.ends_with("86")) machine = "i686";
  if (machine == "arm64") machine = "aarch64";  // macOS says arm64
  std::string system = name.sysname;
  std::transform(system.begin(), system.end(), system.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return machine + "-" + system;
}

}  // namespace nixbuild::nix
