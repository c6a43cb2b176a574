#include "cli/doctor/client_checks.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netdb.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <memory>

#include "cli/progress_view.hpp"
#include "common/base/error.hpp"
#include "common/base/shell.hpp"
#include "common/base/terminal.hpp"

namespace nixbuild::cli {
namespace {

using terminal::printable;

constexpr std::chrono::seconds unsettling_skew{5};
constexpr std::chrono::seconds most_skew{300};  // what tokens and certificates usually tolerate
constexpr std::uint64_t least_space = std::uint64_t{1} << 30;
constexpr std::uint64_t little_space = std::uint64_t{10} << 30;

// Earlier versions of Nix abort with SIGABRT instead of falling back.
constexpr NixVersion first_with_fallback{2, 9};

constexpr std::string_view where_settings_go =
    "to /etc/nix/nix.conf as root, then restart nix-daemon (on NixOS: nixosModules.default)";

bool is_in(const PublicKeys& keys, const nix::PublicKey& key) {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

PublicKeys parsed(const std::vector<std::string>& texts) {
  PublicKeys keys;
  for (const std::string& text : texts) {
    try {
      keys.push_back(nix::PublicKey::parse(text));
    } catch (const FormatError&) {
      // Nix reports it itself.
    }
  }
  return keys;
}

std::string nix_conf_lines(const std::string& cache_url, const PublicKeys& keys) {
  std::string lines = fmt::format("extra-substituters = {}", cache_url);
  std::vector<std::string> texts;
  for (const nix::PublicKey& key : keys)
    texts.push_back(printable(key.to_string()));
  if (!texts.empty()) {
    lines += fmt::format("\nextra-trusted-public-keys = {}", fmt::join(texts, " "));
  }
  return lines;
}

}  // namespace

Check check_name(const std::string& host) {
  Check check{"name", CheckState::failed, {}, {}};
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, ::freeaddrinfo);
  if (error != 0) {
    check.message = fmt::format("'{}' does not resolve: {}", host, ::gai_strerror(error));
    check.remedy =
        "sudo tailscale set --accept-dns=true, or name the server by its address (tailscale "
        "status): "
        "--server, NIXBUILD_SERVER";
    return check;
  }
  std::vector<std::string> addresses;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    char text[NI_MAXHOST];
    if (::getnameinfo(entry->ai_addr, entry->ai_addrlen, text, sizeof(text), nullptr, 0,
                      NI_NUMERICHOST) == 0) {
      addresses.emplace_back(text);
    }
  }
  check.state = CheckState::ok;
  check.message = fmt::format("'{}' is {}", host, fmt::join(addresses, ", "));
  return check;
}

Check check_clock(std::optional<std::chrono::seconds> lead) {
  Check check{"clock", CheckState::ok, {}, {}};
  if (!lead) {
    check.state = CheckState::warning;
    check.message = "the server sends no Date header";
    return check;
  }
  const std::chrono::seconds skew = *lead < std::chrono::seconds{0} ? -*lead : *lead;
  if (skew <= unsettling_skew) {
    check.message = "agrees with the server's";
    return check;
  }
  check.state = skew > most_skew ? CheckState::failed : CheckState::warning;
  check.message = fmt::format("the server's clock is {} {}", format_age(skew),
                              *lead > std::chrono::seconds{0} ? "ahead" : "behind");
  check.remedy =
      "run on the machine whose clock is wrong: sudo timedatectl set-ntp true (under WSL: sudo "
      "hwclock -s)";
  return check;
}

bool is_client(const LocalNix& nix, const std::string& cache_url, const PublicKeys& served) {
  const auto names_cache = [&](const std::vector<std::string>& urls) {
    return std::any_of(urls.begin(), urls.end(),
                       [&](const std::string& url) { return same_cache(url, cache_url); });
  };
  const PublicKeys trusted = parsed(nix.trusted_public_keys());
  return names_cache(nix.substituters()) || names_cache(list_of(nix.settings, "substituters")) ||
         std::any_of(served.begin(), served.end(),
                     [&](const nix::PublicKey& key) { return is_in(trusted, key); });
}

Check check_nix(const std::optional<LocalNix>& nix, Role role) {
  Check check{"Nix", CheckState::failed, {}, {}};
  if (!nix) {
    check.message = "no nix command in PATH";
    check.remedy = "install Nix: https://nixos.org/download";
  } else if (role == Role::client && !nix->has_flakes()) {
    check.state = CheckState::warning;
    check.message = fmt::format("{}, but flakes are not enabled", nix->version_text);
    check.remedy = fmt::format("add 'experimental-features = nix-command flakes' to {}",
                               "~/.config/nix/nix.conf");
  } else {
    check.state = CheckState::ok;
    check.message = nix->version_text;
  }
  return check;
}

Check check_substituter(const LocalNix& nix, const std::string& cache_url,
                        const PublicKeys& served) {
  Check check{"substituter", CheckState::failed, {}, {}};
  const auto names_cache = [&](const std::vector<std::string>& urls) {
    return std::any_of(urls.begin(), urls.end(),
                       [&](const std::string& url) { return same_cache(url, cache_url); });
  };
  const std::string by = nix.owns_store   ? "this user owns the store"
                         : nix.is_trusted ? "the daemon trusts this user"
                                          : "the daemon's own settings name it";
  if (names_cache(nix.substituters())) {
    check.state = CheckState::ok;
    check.message = fmt::format("Nix downloads from {} ({})", cache_url, by);
  } else if (names_cache(list_of(nix.settings, "substituters"))) {
    check.message = fmt::format(
        "{} is among this user's substituters, but the daemon ignores it: the user is neither "
        "trusted "
        "nor is the cache among trusted-substituters",
        cache_url);
    check.remedy = fmt::format("add {}:\n{}", where_settings_go, nix_conf_lines(cache_url, served));
  } else if (nix.is_trusted) {
    check.message = fmt::format("{} is not among Nix's substituters, although {}", cache_url, by);
    check.remedy =
        fmt::format("add to ~/.config/nix/nix.conf (with home-manager: programs.bootstrap):\n{}",
                    nix_conf_lines(cache_url, served));
  } else {
    check.message = fmt::format(
        "{} is not among Nix's substituters, and this user cannot add it: the daemon does not "
        "trust "
        "them",
        cache_url);
    check.remedy = fmt::format("add {}:\n{}", where_settings_go, nix_conf_lines(cache_url, served));
  }
  return check;
}

Check check_public_key(const LocalNix& nix, const PublicKeys& served, const PublicKeys& known) {
  Check check{"public key", CheckState::failed, {}, {}};
  if (served.empty()) {
    check.state = CheckState::warning;
    check.message = "the cache publishes no key in /nix-cache-info, so there is nothing to compare";
    return check;
  }
  if (const auto changes = key_changes(known, served); !changes.empty()) {
    check.message = fmt::format("THE SERVER'S KEY HAS CHANGED\n    before  {}\n    now     {}",
                                describe(changes.front().before), describe(changes.front().now));
    check.remedy =
        "compare the second with what `nixbuild keys show` prints on the server; only if it is the "
        "same, take it: give the command again that set this machine up, with --force "
        "--public-key " +
        shell_word(changes.front().now.to_string());
    return check;
  }
  const PublicKeys trusted = parsed(nix.trusted_public_keys());
  for (const nix::PublicKey& key : served) {
    if (is_in(trusted, key)) {
      check.state = CheckState::ok;
      check.message = fmt::format("Nix trusts the server's key, {}", describe(key));
      return check;
    }
  }
  const nix::PublicKey& key = served.front();
  const auto same_name =
      std::find_if(trusted.begin(), trusted.end(),
                   [&](const nix::PublicKey& other) { return other.name() == key.name(); });
  if (same_name != trusted.end()) {
    check.message =
        fmt::format("Nix trusts a different key of this name\n    trusted  {}\n    served   {}",
                    describe(*same_name), describe(key));
    check.remedy = fmt::format(
        "compare the second with what `nixbuild keys show` prints on the server; only if it is the "
        "same, put into trusted-public-keys, in the old one's place:\n{}",
        printable(key.to_string()));
  } else {
    check.message = fmt::format("Nix does not trust the server's key, {}", describe(key));
    const std::string where =
        nix.is_trusted ? "to ~/.config/nix/nix.conf (with home-manager: programs.bootstrap)"
                       : std::string(where_settings_go);
    check.remedy =
        fmt::format("compare it with `nixbuild keys show` on the server, and add {}:\n{}", where,
                    fmt::format("extra-trusted-public-keys = {}", printable(key.to_string())));
  }
  return check;
}

Check check_signature(const std::optional<CacheSample>& sample, const CacheInfo& info,
                      const LocalNix& nix, Role role) {
  Check check{"signature", CheckState::failed, {}, {}};
  if (!sample) {
    check.state = role == Role::client ? CheckState::warning : CheckState::ok;
    check.message = "no path is known that the cache has, so no signature was checked";
    if (role == Role::client)
      check.remedy = "run nixbuild trigger --wait, then nixbuild doctor again";
    return check;
  }
  const std::string path = nix::StoreDir(info.store_dir).print(sample->narinfo.info.path);
  if (role == Role::server && sample->signer) {
    check.state = CheckState::ok;
    check.message = fmt::format("{} is signed by '{}'", path, printable(sample->signer->name()));
    return check;
  }
  if (const auto signer = signer_of(info, sample->narinfo, parsed(nix.trusted_public_keys()))) {
    check.state = CheckState::ok;
    check.message =
        fmt::format("{} is signed by '{}', which Nix trusts", path, printable(signer->name()));
    return check;
  }
  if (sample->signer) {
    check.message =
        fmt::format("{} is signed by '{}', which Nix does not trust, so it refuses the path", path,
                    printable(sample->signer->name()));
    check.remedy = "see 'public key'";
  } else {
    check.message = fmt::format(
        "{} is signed neither by a key that Nix trusts nor by one that the server shows", path);
    check.remedy =
        "on the server, compare `nixbuild config show` (secret_key_file) with `nixbuild "
        "keys show`, and restart nixbuild-cache";
  }
  return check;
}

Check check_record(const RecordKeys& keys, std::int64_t build,
                   const std::optional<protocol::SignedRecord>& record, std::string_view problem) {
  Check check{"build record", CheckState::failed, {}, {}};
  if (keys.keys.empty()) {
    check.state = CheckState::warning;
    check.message = "this machine cannot verify build records, so system-update follows no build";
    check.remedy = keys.problem;
    return check;
  }
  if (!record) {
    check.message = fmt::format("the server has no signed record of build {}: {}", build, problem);
    check.remedy =
        "on the server: nixbuild doctor, journalctl -u nixbuild-cache -u nixbuild-api -n 50";
    return check;
  }
  try {
    const VerifiedRecord verified = verify_record(*record, keys, build);
    check.state = CheckState::ok;
    check.message = fmt::format("build {} of {} is signed by {}", build, verified.record.repository,
                                verified.signer.name());
  } catch (const Error& error) {
    check.message = error.what();
    check.remedy =
        "compare the fingerprints of `nixbuild keys show` on the server and of record_keys in "
        "[client]; system-update --upstream updates without the server";
  }
  return check;
}

Check check_fallback(const LocalNix& nix) {
  Check check{"fallback", CheckState::warning, {}, {}};
  const auto setting = nix.settings.find("fallback");
  const bool is_on = setting != nix.settings.end() && setting->second == "true";
  if (nix.version < first_with_fallback) {
    check.message = fmt::format(
        "{} fails while a cache that it knows is away, with fallback = true even by SIGABRT",
        nix.version_text);
    check.remedy =
        "use Nix 2.9 or newer; until then, leave the cache out while it is away: "
        "--option substituters https://cache.nixos.org";
  } else if (!is_on) {
    check.message = "Nix does not build paths itself if the cache is unreachable";
    check.remedy = "add 'fallback = true' to ~/.config/nix/nix.conf";
  } else {
    check.state = CheckState::ok;
    check.message = "Nix builds paths itself if the cache is unreachable";
  }
  return check;
}

Check check_absent_paths(const LocalNix& nix) {
  Check check{"absent paths", CheckState::ok, {}, {}};
  const auto setting = nix.settings.find("narinfo-cache-negative-ttl");
  const std::string seconds = setting != nix.settings.end() ? setting->second : "3600";
  if (seconds == "0") {
    check.message = "Nix asks again for paths that a cache did not have";
    return check;
  }
  check.state = CheckState::warning;
  check.message = fmt::format(
      "for {} s, Nix does not ask again for paths that a cache did not have, though the server may "
      "have been away, or may have built them since",
      printable(seconds));
  check.remedy = "add 'narinfo-cache-negative-ttl = 0' to ~/.config/nix/nix.conf";
  return check;
}

std::optional<DiskSpace> disk_space(const std::string& directory) {
  struct statvfs status {};
  if (::statvfs(directory.c_str(), &status) != 0) return std::nullopt;
  const std::uint64_t unit = status.f_frsize;
  return DiskSpace{directory, unit * status.f_bavail, unit * status.f_blocks};
}

Check check_disk_space(std::string_view what, const DiskSpace& space) {
  Check check{std::string(what), CheckState::ok, {}, {}};
  check.message = fmt::format("{} of {} free in {}", format_bytes(space.available),
                              format_bytes(space.total), space.directory);
  if (space.available < little_space) {
    check.state = space.available < least_space ? CheckState::failed : CheckState::warning;
    check.remedy = "nix-collect-garbage --delete-older-than 30d";
  }
  return check;
}

}  // namespace nixbuild::cli
