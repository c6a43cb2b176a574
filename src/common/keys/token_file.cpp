#include "common/keys/token_file.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "common/base/error.hpp"
#include "common/base/files.hpp"

namespace nixbuild::keys {
namespace {

constexpr mode_t other_users = 0007;
constexpr std::size_t token_size_limit = 4096;  // bytes

}  // namespace

std::string read_token_file(const std::filesystem::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) {
    throw UsageError(
        SystemError(errno, fmt::format("cannot read token file {}", file.string())).what());
  }
  if ((status.st_mode & other_users) != 0) {
    throw UsageError(
        fmt::format("token file {}: accessible to other users (mode {:04o}); run chmod 600 {}, and "
                    "change the token if somebody may have read it",
                    file.string(), status.st_mode & 07777, file.string()));
  }
  std::optional<std::string> token;
  try {
    token = read_file(file, token_size_limit);
  } catch (const Error& error) {
    throw UsageError(fmt::format("token file: {}", error.what()));
  }
  if (!token) throw UsageError(fmt::format("token file {}: no such file", file.string()));
  token->resize(std::min(token->find('\n'), token->size()));
  while (!token->empty() && std::string_view(" \t\r").find(token->back()) != std::string::npos)
    token->pop_back();
  const bool is_word =
      std::all_of(token->begin(), token->end(), [](char c) { return c > ' ' && c < '\x7f'; });
  if (token->empty() || !is_word) {
    throw UsageError(
        fmt::format("token file {}: expected one word on its first line", file.string()));
  }
  return *token;
}

}  // namespace nixbuild::keys
