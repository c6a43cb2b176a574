#include "cli/machine/binary_cache.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "common/base/error.hpp"
#include "common/base/time.hpp"

namespace nixbuild::cli {
namespace {

constexpr std::string_view info_path = "/nix-cache-info";

net::HttpOptions options_of(const net::ServerAddress& address) {
  net::HttpOptions options;
  options.server = address;
  options.service = "serve-cache";
  options.unit = "nixbuild-cache";
  options.usual_port = net::cache_port;
  options.body_limit = std::size_t{1} << 20;
  return options;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") + 1 - first);
}

}  // namespace

CacheInfo parse_cache_info(std::string_view text) {
  CacheInfo info;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = trimmed(line.substr(colon + 1));
    if (name == "StoreDir") info.store_dir = value;
    if (name == "PublicKey") info.keys.push_back(nix::PublicKey::parse(value));
  }
  if (info.store_dir.empty()) throw FormatError("it has no line 'StoreDir: …'");
  try {
    static_cast<void>(nix::StoreDir(info.store_dir));
  } catch (const UsageError& error) {
    throw FormatError(error.what());
  }
  return info;
}

BinaryCache::BinaryCache(const net::ServerAddress& address) : http_(options_of(address)) {}

net::HttpResponse BinaryCache::get(std::string_view path) {
  net::HttpResponse response = http_.get(path);
  if (const auto date = net::parse_http_date(response.date)) clock_lead_ = *date - now();
  return response;
}

CacheInfo BinaryCache::info() {
  const net::HttpResponse response = get(info_path);
  const std::string request = fmt::format("GET {}", info_path);
  if (response.status != 200) net::throw_refused(http_.options(), request, response);
  try {
    return parse_cache_info(response.body);
  } catch (const FormatError& error) {
    throw net::RefusedError(fmt::format("{}: {} was not answered as a binary cache does: {}",
                                        server().host_port(), request, error.what()));
  }
}

std::optional<nix::NarInfo> BinaryCache::narinfo(const CacheInfo& info,
                                                 std::string_view hash_part) {
  const std::string path = fmt::format("/{}.narinfo", hash_part);
  const net::HttpResponse response = get(path);
  if (response.status == 404) return std::nullopt;
  if (response.status != 200) {
    net::throw_refused(http_.options(), fmt::format("GET {}", path), response);
  }
  try {
    return nix::parse_narinfo(nix::StoreDir(info.store_dir), response.body);
  } catch (const FormatError& error) {
    throw net::RefusedError(fmt::format("{}: GET {} was answered with no narinfo: {}",
                                        server().host_port(), path, error.what()));
  }
}

std::optional<nix::PublicKey> signer_of(const CacheInfo& info, const nix::NarInfo& narinfo,
                                        const PublicKeys& keys) {
  const std::string signed_text = nix::fingerprint(nix::StoreDir(info.store_dir), narinfo.info);
  for (const nix::PublicKey& key : keys) {
    for (const std::string& signature : narinfo.info.signatures) {
      if (key.verify(signed_text, signature)) return key;
    }
  }
  return std::nullopt;
}

std::optional<CacheSample> find_sample(BinaryCache& cache, const CacheInfo& info,
                                       const PublicKeys& keys,
                                       const std::vector<std::string>& hash_parts) {
  for (const std::string& hash_part : hash_parts) {
    if (auto narinfo = cache.narinfo(info, hash_part)) {
      auto signer = signer_of(info, *narinfo, keys);
      return CacheSample{std::move(*narinfo), std::move(signer)};
    }
  }
  return std::nullopt;
}

std::vector<std::string> sample_candidates(const CacheInfo& info,
                                           const std::vector<std::string>& known,
                                           std::size_t most) {
  std::vector<std::string> candidates;
  const nix::StoreDir store_dir(info.store_dir);
  for (const std::string& path : known) {
    if (const auto parsed = store_dir.parse(path)) candidates.emplace_back(parsed->hash_part());
  }
  const char* told = std::getenv("NIX_STORE_DIR");
  const std::string local = told != nullptr && *told != '\0' ? told : "/nix/store";
  // Paths of a store in another directory have other hashes.
  if (local != info.store_dir) return candidates;
  std::error_code error;
  std::filesystem::directory_iterator entries(local, error);
  for (; !error && most > 0 && entries != std::filesystem::directory_iterator();
       entries.increment(error)) {
    const auto parsed = nix::StorePath::parse(entries->path().filename().string());
    if (!parsed || parsed->is_derivation()) continue;
    candidates.emplace_back(parsed->hash_part());
    --most;
  }
  return candidates;
}

}  // namespace nixbuild::cli
