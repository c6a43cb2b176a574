// Secret keys on the disk: Nix's format, one key a file, kept from others.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "common/nix/keys.hpp"

namespace nixbuild::keys {

// The name, in the state directory, of the key that serve-cache makes for itself.
constexpr const char* default_key_file = "cache-key";
// The key of an installed server, which nixbuild-key.service makes.
constexpr const char* installed_key_file = "/etc/nixbuild/cache-key";

// Throws UsageError saying what to do when the file is missing, cannot be read, holds no secret key
// or may be read or changed by others. Group bits are allowed: systemd's credentials have them.
nix::SecretKey load_key_file(const std::filesystem::path& file);

// The public half of the key in `file`: from `file`.pub where this user may not read the key
// itself. Throws UsageError as load_key_file does.
nix::PublicKey load_public_key(const std::filesystem::path& file);

// Makes a key, writes it to `file` (mode 0600) and its public half to `file`.pub (0644). Throws
// UsageError when there is such a file already, which is left as it is, or `name` is no key name.
nix::SecretKey generate_key_file(const std::filesystem::path& file, std::string_view name);

// Loads `file`, having made it where there is none; several processes may do so at once and get the
// same key.
nix::SecretKey load_or_generate_key_file(const std::filesystem::path& file, std::string_view name);

std::filesystem::path public_key_file(const std::filesystem::path& file);

// "HOSTNAME-1": the name of a key that nobody has named.
std::string default_key_name();

}  // namespace nixbuild::keys
