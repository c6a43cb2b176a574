#include "server/http/target.hpp"

#include "common/base/percent.hpp"
#include "server/http/ascii.hpp"

namespace nixbuild::http {
namespace {

// Whether the decoded path has a "." or ".." segment, so that encoding dots or slashes cannot hide
// it.
bool has_dot_segment(std::string_view path) {
  std::size_t position = path.find("/.");
  while (position != std::string_view::npos) {
    std::string_view rest = path.substr(position + 2);
    if (rest.starts_with('.')) rest.remove_prefix(1);
    if (rest.empty() || rest.front() == '/') return true;
    position = path.find("/.", position + 1);
  }
  return false;
}

}  // namespace

bool parse_target(std::string_view text, std::string& storage, Target& target) {
  target = {};
  if (!text.starts_with('/')) {
    const std::size_t scheme = istarts_with(text, "http://")    ? 7
                               : istarts_with(text, "https://") ? 8
                                                                : 0;
    if (scheme == 0) return false;
    text.remove_prefix(scheme);
    const std::size_t end = text.find_first_of("/?#");
    target.authority = text.substr(0, end);
    if (target.authority.empty()) return false;
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end);
    if (!text.starts_with('/')) {
      if (text.starts_with('#')) return false;
      target.path = "/";
      if (!text.empty()) target.query = text.substr(1);
      return target.query.find('#') == std::string_view::npos;
    }
  }
  if (text.find('#') != std::string_view::npos) return false;
  const std::size_t question = text.find('?');
  target.path = text.substr(0, question);
  if (question != std::string_view::npos) target.query = text.substr(question + 1);
  if (target.path.find('%') != std::string_view::npos) {
    if (!percent_decode(target.path, false, storage)) return false;
    target.path = storage;
  }
  // Clients may join a base URL ending with a slash and a path beginning with one.
  if (target.path.find("//") != std::string_view::npos) {
    std::string collapsed;
    for (const char c : target.path) {
      if (c != '/' || !collapsed.ends_with('/')) collapsed += c;
    }
    storage = std::move(collapsed);
    target.path = storage;
  }
  return target.path.find('\0') == std::string_view::npos && !has_dot_segment(target.path);
}

}  // namespace nixbuild::http
