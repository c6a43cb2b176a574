// The options of `serve-api`, `run-build` and the clients.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace nixbuild::config {

// Which inputs a build uses: `updated`, the newest of each; `committed`, the repository's own
// flake.lock; `both`, one build of each.
enum class Lock : std::uint8_t { updated, committed, both };

enum class Runner : std::uint8_t { automatic, systemd, local };

struct Repository {
  std::string name;                   // [a-z0-9][a-z0-9._-]{0,62}
  std::string url;                    // https, ssh, git, file or an absolute path
  std::optional<std::string> branch;  // unset: the remote's HEAD
  std::optional<std::string> ref;     // a tag, or a commit's 40 digits, instead of a branch
  std::string dir;                    // directory of its flake or default.nix; empty: the top
  Lock lock = Lock::updated;
  bool push_lock = false;
  int keep = 5;            // keep the outputs of so many successes of each target
  int keep_history = 200;  // builds
  std::chrono::seconds timeout{7200};
  std::vector<std::string> systems;        // empty: this machine's
  std::vector<std::string> targets;        // attribute paths; empty: all that the flake offers
  std::optional<std::string> home_config;  // a file of the repository, for its home modules
  bool accept_flake_config = false;
  // Files with credentials for the repository and its inputs.
  std::filesystem::path ssh_key_file;
  std::filesystem::path netrc_file;
  std::filesystem::path access_tokens_file;
  // Local directories that its inputs may come from, and that its builds may read.
  std::vector<std::filesystem::path> local_inputs;
};

// Whether the programs of a build run isolated: always, or not at all.
enum class Isolation : std::uint8_t { required, none };

struct ApiOptions {
  std::vector<std::string> listen = {"127.0.0.1:8000", "[::1]:8000", "tailscale:8000"};
  Runner runner = Runner::automatic;
  std::string cache_url = "http://127.0.0.1:5000";
  std::filesystem::path token_file;
  std::vector<std::string> allowed_hosts;
  std::vector<std::string> trusted_proxies;  // addresses and ranges without a connection limit
  bool access_log = false;
};

struct BuildOptions {
  int max_parallel = 1;  // builds at once, over all repositories
  Isolation isolation = Isolation::required;
  // Bytes, for all processes that evaluate a build; 0: half of the machine's.
  std::uint64_t eval_memory = 0;
  std::string home_manager;  // a flake reference, for home modules of flakes without that input
};

struct ClientOptions {
  std::string server = "build-server";  // HOST, HOST:PORT or a URL
  std::filesystem::path token_file;
  std::vector<std::string> record_keys;  // NAME:BASE64; build records count only if one signed them
};

}  // namespace nixbuild::config
