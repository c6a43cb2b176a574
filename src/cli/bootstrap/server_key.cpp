#include "cli/bootstrap/server_key.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/machine/binary_cache.hpp"
#include "cli/machine/build_server.hpp"
#include "cli/output.hpp"
#include "common/base/error.hpp"
#include "common/base/shell.hpp"
#include "common/base/terminal.hpp"

namespace nixbuild::cli {
namespace {

[[noreturn]] void refuse_change(const std::string& cache_url,
                                const std::vector<KeyChange>& changes) {
  std::string message = fmt::format("THE PUBLIC KEY OF {} HAS CHANGED\n", cache_url);
  for (const KeyChange& change : changes) {
    message +=
        fmt::format("  before  {}\n  now     {}\n", describe(change.before), describe(change.now));
  }
  message += fmt::format(
      "Either the server has a new key, or another machine poses as it. Nothing was written.\n"
      "Run `nixbuild keys show` on the server. Only if it shows the second fingerprint, repeat "
      "this "
      "command with\n"
      "  --force --public-key {}\n"
      "Replaced files are kept as backups.",
      shell_word(changes.front().now.to_string()));
  throw net::RefusedError(message);
}

}  // namespace

PublicKeys keys_in_nix_file(std::string_view text) {
  PublicKeys keys;
  while (true) {
    const std::size_t open = text.find('"');
    if (open == std::string_view::npos) return keys;
    const std::size_t close = text.find('"', open + 1);
    if (close == std::string_view::npos) return keys;
    try {
      keys.push_back(nix::PublicKey::parse(text.substr(open + 1, close - open - 1)));
      text.remove_prefix(close + 1);
    } catch (const FormatError&) {
      // That was the closing quote of a literal.
      text.remove_prefix(open + 1);
    }
  }
}

ServerKey fetch_server_key(const config::ClientOptions& options,
                           const std::function<PublicKeys(const std::string&)>& before) {
  const BuildServer server = ask_build_server(options);
  BinaryCache cache(server.cache);
  say(fmt::format("==> Fetching the public key of {}...", cache.url()));
  const CacheInfo info = cache.info();
  if (info.keys.empty()) {
    throw net::RefusedError(
        fmt::format("{}: /nix-cache-info names no public key; run `nixbuild keys show` on the "
                    "server and pass its output with --public-key",
                    cache.server().host_port()));
  }
  const PublicKeys known = before(cache.url());
  if (const auto changes = key_changes(known, info.keys); !changes.empty()) {
    refuse_change(cache.url(), changes);
  }
  ServerKey found{info.keys.front(), info.keys, cache.url(), {}};
  const auto sample =
      find_sample(cache, info, info.keys, sample_candidates(info, server.store_paths));
  if (sample) {
    const std::string path = nix::StoreDir(info.store_dir).print(sample->narinfo.info.path);
    if (!sample->signer) {
      throw net::RefusedError(
          fmt::format("{}: the narinfo of {} is not signed with the server's own key ({}); check "
                      "that this is the server, and its secret_key_file",
                      cache.server().host_port(), path, describe(found.key)));
    }
    found.key = *sample->signer;
    found.verified_by = path;
  }
  found.is_known = std::find(known.begin(), known.end(), found.key) != known.end();
  say(fmt::format("✓ Its key is {}", describe(found.key)));
  if (sample) {
    say(fmt::format("✓ It has signed {}", found.verified_by));
  } else {
    say("! Found no path on the server to verify a signature with");
  }
  return found;
}

}  // namespace nixbuild::cli
