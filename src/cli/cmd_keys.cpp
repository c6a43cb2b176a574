#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "cli/command.hpp"
#include "cli/output.hpp"
#include "cli/setting_flags.hpp"
#include "common/base/error.hpp"
#include "common/config/configuration.hpp"
#include "common/config/state_dir.hpp"
#include "common/keys/key_file.hpp"

namespace nixbuild::cli {
namespace {

class KeysCommand {
 public:
  explicit KeysCommand(CommandSpec& command) : flags_(command, configuration_, {"state_dir"}) {
    command.option("--file FILE", file_,
                   "File of the secret key (default: secret_key_file of the configuration, else "
                   "/etc/nixbuild/cache-key if a server is installed, else cache-key in the state "
                   "directory)");
  }

  // The named key, else those that serve-cache is configured to sign with, else the installed
  // server's key, else the one that serve-cache creates.
  std::vector<std::filesystem::path> files() {
    flags_.load();
    if (!file_.empty()) return {file_};
    if (!configuration_.cache.secret_key_files.empty()) {
      return configuration_.cache.secret_key_files;
    }
    std::error_code error;
    if (configuration_.state_dir.empty() &&
        std::filesystem::exists(keys::installed_key_file, error)) {
      return {keys::installed_key_file};
    }
    return {config::resolve_state_dir(configuration_.state_dir, config::process_environment) /
            keys::default_key_file};
  }

  std::string name;  // of a new key

 private:
  config::Configuration configuration_;
  SettingFlags flags_;
  std::string file_;
};

ExitCode generate(KeysCommand& command) {
  const std::filesystem::path file = command.files().front();
  if (const auto directory = file.parent_path(); !directory.empty()) {
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (error)
      throw SystemError(error.value(), fmt::format("cannot create {}", directory.string()));
  }
  const nix::SecretKey key =
      keys::generate_key_file(file, command.name.empty() ? keys::default_key_name() : command.name);
  say(fmt::format("✓ Secret key in {}, public key in {}", file.string(),
                  keys::public_key_file(file).string()));
  print_line(key.public_key().to_string());
  return ExitCode::done;
}

ExitCode show(KeysCommand& command) {
  for (const auto& file : command.files()) {
    const nix::PublicKey key = keys::load_public_key(file);
    print_line(key.to_string());
    say(fmt::format("{}  {}", key.fingerprint(), key.name()));
  }
  return ExitCode::done;
}

}  // namespace

void add_keys_command(CommandSpec& program) {
  CommandSpec& command = program.add_command("keys", "Create or show the cache's signing key");
  command.footer("`nixbuild keys COMMAND --help` explains a command.");

  CommandSpec& generating =
      command.add_command("generate", "Create a key and print its public key");
  generating.footer(
      R"(Writes the secret key in Nix's format with mode 0600, and the public key, which clients add to their
trusted-public-keys, to FILE.pub. An existing key is never overwritten.

Examples:
  nixbuild keys generate
  nixbuild keys generate --name cache.example.org-1 --file /etc/nixbuild/cache-key)");
  auto to_generate = std::make_shared<KeysCommand>(generating);
  generating.option("--name NAME", to_generate->name, "Name of the key (default: HOSTNAME-1)");
  generating.action([to_generate] { return generate(*to_generate); });

  CommandSpec& showing = command.add_command("show", "Print the public keys");
  showing.footer(
      R"(Prints one key per line, as in the clients' trusted-public-keys, and its fingerprint on standard
error. If you may not read the secret key, the public key is read from FILE.pub.)");
  auto to_show = std::make_shared<KeysCommand>(showing);
  showing.action([to_show] { return show(*to_show); });
}

}  // namespace nixbuild::cli
