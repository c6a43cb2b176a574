// Secret keys on disk: Nix's format, one key in each file, inaccessible to other users.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "common/nix/keys.hpp"

namespace nixbuild::keys {

// The name, in the state directory, of the key that serve-cache creates.
constexpr const char* default_key_file = "cache-key";
// The key of an installed server, which nixbuild-key.service creates.
constexpr const char* installed_key_file = "/etc/nixbuild/cache-key";

// Throws UsageError saying what to do if the file is missing, cannot be read, holds no secret key
// or is accessible to other users. Group bits are allowed: systemd's credentials have them.
nix::SecretKey load_key_file(const std::filesystem::path& file);

// The public half of the key in `file`, read from `file`.pub if this user may not read the key
// itself. Throws UsageError as load_key_file does.
nix::PublicKey load_public_key(const std::filesystem::path& file);

// Generates a key, writes it to `file` (mode 0600) and its public half to `file`.pub (0644). Throws
// UsageError if the file exists, which is left unchanged, or `name` is not a valid key name.
nix::SecretKey generate_key_file(const std::filesystem::path& file, std::string_view name);

// Loads `file`, or creates it if it does not exist. Several processes may do so at once and get the
// same key.
nix::SecretKey load_or_generate_key_file(const std::filesystem::path& file, std::string_view name);

std::filesystem::path public_key_file(const std::filesystem::path& file);

// "HOSTNAME-1": the default name of a key.
std::string default_key_name();

}  // namespace nixbuild::keys
