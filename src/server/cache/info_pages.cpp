#include "server/cache/info_pages.hpp"

#include <fmt/format.h>

#include "common/base/version.hpp"
#include "common/nix/expression.hpp"
#include "server/http/html.hpp"

namespace nixbuild::cache {
namespace {

constexpr std::string_view style = R"(
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
pre { padding: .75rem 1rem; overflow-x: auto; border-radius: .5rem; border: 1px solid #8886;
  background: #8882; user-select: all; }
code { font: 14px/1.5 ui-monospace, monospace; }
)";

std::string page_head(const nix::StoreDir& store_dir) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>Nix binary cache</title>\n<style>{}</style>\n</head>\n<body>\n"
      "<h1>Nix binary cache</h1>\n<p>Signed packages of <code>{}</code>.</p>\n",
      style, http::escape_html(store_dir.path()));
}

constexpr std::string_view page_end =
    "<p><a href=\"/nix-cache-info\">nix-cache-info</a> · <a href=\"/health\">health</a> · "
    "<a href=\"/metrics\">metrics</a> · nixbuild " NIXBUILD_VERSION "</p>\n</body>\n</html>\n";

void add_block(std::string& page, std::string_view title, std::string_view text) {
  page += fmt::format("<h2>{}</h2>\n<pre><code>{}</code></pre>\n", title, http::escape_html(text));
}

}  // namespace

std::string render_nix_cache_info(const nix::StoreDir& store_dir, int priority,
                                  const std::vector<nix::PublicKey>& keys) {
  std::string text =
      fmt::format("StoreDir: {}\nWantMassQuery: 1\nPriority: {}\n", store_dir.path(), priority);
  for (const nix::PublicKey& key : keys)
    text += fmt::format("PublicKey: {}\n", key.to_string());
  return text;
}

std::string render_front_page(std::string_view url, const nix::StoreDir& store_dir,
                              const std::vector<nix::PublicKey>& keys) {
  std::string names;
  std::string quoted;
  for (const nix::PublicKey& key : keys) {
    const std::string text = key.to_string();
    names += (names.empty() ? "" : " ") + text;
    quoted += (quoted.empty() ? "" : " ") + nix::nix_string(text);
  }
  std::string page = page_head(store_dir);
  add_block(page, "Public key", names);
  add_block(page, "nix.conf",
            fmt::format("extra-substituters = {}\nextra-trusted-public-keys = {}\n", url, names));
  add_block(page, "NixOS",
            fmt::format("nix.settings = {{\n  substituters = [ {} ];\n"
                        "  trusted-public-keys = [ {} ];\n}};\n",
                        nix::nix_string(url), quoted));
  add_block(page, "Once, by hand",
            fmt::format("nix copy --from '{}' STORE-PATH --option extra-trusted-public-keys '{}'\n",
                        url, names));
  page += page_end;
  return page;
}

std::string render_keyless_front_page(std::string_view url, const nix::StoreDir& store_dir,
                                      const std::vector<nix::PublicKey>& signed_by) {
  std::string page = page_head(store_dir);
  page += "<p>This machine has no key. It passes on what these keys have signed:</p>\n<ul>\n";
  for (const nix::PublicKey& key : signed_by)
    page += fmt::format("<li><code>{}</code></li>\n", http::escape_html(key.to_string()));
  page += "</ul>\n<p>Trust a key only if its owner told you what it is.</p>\n";
  add_block(page, "For the proxy of another machine, config.toml",
            fmt::format("[proxy]\nupstream = [{}]\n", nix::nix_string(url)));
  add_block(page, "For Nix itself, nix.conf", fmt::format("extra-substituters = {}\n", url));
  page += page_end;
  return page;
}

}  // namespace nixbuild::cache
