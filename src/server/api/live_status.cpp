#include "server/api/live_status.hpp"

#include "common/protocol/json.hpp"

namespace nixbuild::api {

http::SharedText LiveStatus::json(const std::string& repository) {
  auto found = entries_.find(repository);
  if (found == entries_.end()) {
    found = entries_
                .emplace(repository,
                         Entry{build::StatusReader(layout_, history_, repository), 0, nullptr})
                .first;
  }
  Entry& entry = found->second;
  const std::uint64_t generation = entry.reader.generation();
  if (!entry.json || entry.generation != generation) {
    entry.json = std::make_shared<const std::string>(protocol::to_json(entry.reader.read()));
    entry.generation = generation;
  }
  return entry.json;
}

}  // namespace nixbuild::api
