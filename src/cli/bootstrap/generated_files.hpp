// The files of a fresh machine's home configuration, as text.
//
// Names of users and hosts, paths and URLs may hold anything: they stand in string literals that
// mean them, never in comments or bare.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace nixbuild::cli {

// What the files are made of.
struct HomePlan {
  std::string profile = "laptop";  // laptop, desktop or server
  std::string host;
  std::string user;
  std::string home_directory;
  std::string system;  // "x86_64-linux"

  std::string server;      // as a client is told: HOST, HOST:PORT or a URL
  std::string cache_url;   // empty: port 5000 of that host
  std::string public_key;  // NAME:BASE64
  std::string auth_key_file;

  std::string bootstrap_url;  // flake references
  std::string terminal_url;

  std::filesystem::path directory;  // absolute
  bool in_git = false;              // it is part of a repository
  bool multi_host = false;
};

struct GeneratedFile {
  std::filesystem::path path;  // relative to the plan's directory
  std::string content;
  mode_t mode = 0644;
};

// Throws UsageError for a host's name that cannot name a file, where it has to.
std::vector<GeneratedFile> generated_files(const HomePlan& plan);

// Where the machine's own values are, relative to the plan's directory.
std::filesystem::path secrets_path(const HomePlan& plan);

// What git has to ignore, a pattern a line.
std::string_view ignored_patterns(const HomePlan& plan);
// The text of a .gitignore with those of these lines that it lacks.
std::string with_lines(std::string_view text, std::string_view lines);

}  // namespace nixbuild::cli
