#include "cli/update/followed_builds.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/base/time.hpp"
#include "common/base/unique_fd.hpp"
#include "common/net/http_client.hpp"

namespace nixbuild::cli {
namespace {

using Json = nlohmann::json;

}  // namespace

FollowedBuilds::FollowedBuilds(std::filesystem::path file)
    : file_(std::move(file)), builds_(read(file_)) {}

FollowedBuilds::Builds FollowedBuilds::read(const std::filesystem::path& file) {
  Builds builds;
  const auto text = read_file(file);
  if (!text) return builds;
  const Error damaged(fmt::format(
      "{} is damaged: it says which builds this machine followed last; remove it to follow any "
      "signed build once",
      file.string()));
  const Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object()) throw damaged;
  for (const auto& [source, entry] : json.items()) {
    if (!entry.is_object() || !entry.value("history", Json()).is_string() ||
        !entry.value("build", Json()).is_number_integer() ||
        !entry.value("finish", Json()).is_string()) {
      throw damaged;
    }
    const auto finish = parse_time(entry["finish"].get<std::string>());
    if (!finish) throw damaged;
    builds[source] = {entry["history"].get<std::string>(), entry["build"].get<std::int64_t>(),
                      *finish};
  }
  return builds;
}

std::optional<std::string> FollowedBuilds::going_back(const std::string& source,
                                                      const protocol::BuildRecord& record) const {
  const auto found = builds_.find(source);
  if (found == builds_.end()) return std::nullopt;
  const Build& last = found->second;
  if (record.history == last.history) {
    if (record.build >= last.number) return std::nullopt;
    return fmt::format("build {} is older than build {}, which this machine followed last",
                       record.build, last.number);
  }
  if (record.finish > last.finish) return std::nullopt;
  return fmt::format(
      "build {} of another history ended at {}, not after build {} of {}, which this machine "
      "followed last",
      record.build, format_time(record.finish), last.number, format_time(last.finish));
}

void FollowedBuilds::refuse_older(const std::string& source, const protocol::BuildRecord& record,
                                  const std::string& what) const {
  const auto backwards = going_back(source, record);
  if (!backwards) return;
  throw net::RefusedError(fmt::format("{}{}; --allow-older follows it anyway", what, *backwards));
}

void FollowedBuilds::note(const std::string& source, const protocol::BuildRecord& record) {
  builds_[source] = noted_[source] = {record.history, record.build, record.finish};
}

void FollowedBuilds::save() {
  std::error_code error;
  std::filesystem::create_directories(file_.parent_path(), error);
  if (error) {
    throw SystemError(error.value(), fmt::format("creating {}", file_.parent_path().string()));
  }
  const std::filesystem::path lock = file_.string() + ".lock";
  const UniqueFd held(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!held) throw SystemError(errno, fmt::format("opening {}", lock.string()));
  while (::flock(held.get(), LOCK_EX) != 0) {
    if (errno != EINTR) throw SystemError(errno, fmt::format("locking {}", lock.string()));
  }
  builds_ = read(file_);
  for (const auto& [source, build] : noted_)
    builds_[source] = build;
  Json json = Json::object();
  for (const auto& [source, build] : builds_) {
    json[source] = {
        {"history", build.history}, {"build", build.number}, {"finish", format_time(build.finish)}};
  }
  write_file_atomic(file_, json.dump(2, ' ', false, Json::error_handler_t::replace) + '\n', 0600);
}

}  // namespace nixbuild::cli
