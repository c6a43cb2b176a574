#include "server/api/live_status.hpp"

#include "common/protocol/json.hpp"

namespace nixbuild::api {
namespace {

constexpr std::chrono::milliseconds fresh_for{1};

}  // namespace

http::SharedText LiveStatus::json(const std::string& repository, std::uint64_t changes) {
  auto found = entries_.find(repository);
  if (found == entries_.end()) {
    found = entries_
                .emplace(repository,
                         Entry{history::StatusReader(layout_, history_, repository), 0, 0, {}, {}})
                .first;
  }
  Entry& entry = found->second;
  const auto time = std::chrono::steady_clock::now();
  if (entry.json && entry.changes == changes && time < entry.looked_at + fresh_for) {
    return entry.json;
  }
  entry.looked_at = time;
  entry.changes = changes;
  const std::uint64_t generation = entry.reader.generation();
  if (!entry.json || entry.generation != generation) {
    entry.json = std::make_shared<const std::string>(protocol::to_json(entry.reader.read()));
    entry.generation = generation;
  }
  return entry.json;
}

}  // namespace nixbuild::api
