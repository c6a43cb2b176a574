#include "common/keys/key_file.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <string>

#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/base/log.hpp"

namespace nixbuild::keys {
namespace {

namespace fs = std::filesystem;

constexpr mode_t secret_mode = 0600;
constexpr mode_t public_mode = 0644;
constexpr mode_t others = 0007;
constexpr std::size_t size_limit = 4096;  // bytes; a key has about 100

void write_public_half(const fs::path& file, const nix::SecretKey& key) {
  write_file_atomic(public_key_file(file), key.public_key().to_string() + "\n", public_mode);
}

}  // namespace

nix::SecretKey load_key_file(const fs::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) {
    if (errno == ENOENT) {
      throw UsageError(fmt::format(
          "secret key {}: there is no such file; make one with `nixbuild keys generate`, "
          "or leave the option out to have one made",
          file.string()));
    }
    throw UsageError(SystemError(errno, fmt::format("secret key {}", file.string())).what());
  }
  if ((status.st_mode & others) != 0) {
    throw UsageError(fmt::format(
        "secret key {}: others than its owner can get at it (mode {:04o}); `chmod 600 {}`, and "
        "generate a new key if somebody may have read it",
        file.string(), status.st_mode & 07777, file.string()));
  }
  std::optional<std::string> text;
  try {
    text = read_file(file, size_limit);
  } catch (const Error& error) {
    throw UsageError(fmt::format(
        "secret key: {}; it must be a file that the server's user can read", error.what()));
  }
  if (!text) throw UsageError(fmt::format("secret key {}: it was just removed", file.string()));
  try {
    return nix::SecretKey::parse(*text);
  } catch (const FormatError& error) {
    throw UsageError(
        fmt::format("secret key {}: {}; it should hold NAME:BASE64 as `nixbuild keys generate` or "
                    "`nix-store --generate-binary-cache-key` write it",
                    file.string(), error.what()));
  }
}

nix::PublicKey load_public_key(const fs::path& file) {
  const fs::path public_file = public_key_file(file);
  if (::access(file.c_str(), R_OK) == 0 || errno != EACCES ||
      ::access(public_file.c_str(), R_OK) != 0) {
    return load_key_file(file).public_key();
  }
  try {
    return nix::PublicKey::parse(read_file(public_file, size_limit).value_or(""));
  } catch (const FormatError& error) {
    throw UsageError(
        fmt::format("public key {}: {}; as a user who may read {}, write what `nixbuild keys show` "
                    "prints into it",
                    public_file.string(), error.what(), file.string()));
  }
}

nix::SecretKey generate_key_file(const fs::path& file, std::string_view name) {
  const nix::SecretKey key = nix::SecretKey::generate(name);
  try {
    write_file_atomic(file, key.to_string(), secret_mode, IfExists::fail);
  } catch (const SystemError& error) {
    if (error.error_number() != EEXIST) throw;
    throw UsageError(
        fmt::format("secret key {}: the file exists already and is left as it is; name another",
                    file.string()));
  }
  write_public_half(file, key);
  return key;
}

nix::SecretKey load_or_generate_key_file(const fs::path& file, std::string_view name) {
  if (!fs::exists(file)) {
    try {
      return generate_key_file(file, name);
    } catch (const UsageError&) {
      // Another process may have created it first; otherwise, loading reports the problem.
      if (!fs::exists(file)) throw;
    }
  }
  nix::SecretKey key = load_key_file(file);
  if (!fs::exists(public_key_file(file))) {
    try {
      write_public_half(file, key);
    } catch (const SystemError& error) {
      log::warn("public key: {}", error.what());
    }
  }
  return key;
}

fs::path public_key_file(const fs::path& file) {
  return file.string() + ".pub";
}

std::string default_key_name() {
  std::array<char, 256> buffer{};  // POSIX: at most 255
  std::string name;
  if (::gethostname(buffer.data(), buffer.size() - 1) == 0) name = buffer.data();
  for (char& c : name) {
    const bool usual = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '-' || c == '_';
    if (!usual) c = '-';
  }
  return (name.empty() ? "nixbuild" : name) + "-1";
}

}  // namespace nixbuild::keys
