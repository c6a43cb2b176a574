#include "server/narcache/waiting_room.hpp"

#include <algorithm>

namespace nixbuild::narcache {

void WaitingRoom::enter(Guest& guest, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  places_.push_back({&guest, bytes, false});
  bytes_ += bytes;
  ++guests_;
  for (Place& place : places_) {
    if (guests_ <= 1 || (bytes_ <= most_bytes_ && guests_ <= most_guests_)) return;
    if (place.sent_away) continue;
    place.sent_away = true;
    bytes_ -= place.bytes;
    --guests_;
    place.guest->send_away();
  }
}

void WaitingRoom::leave(Guest& guest) {
  const std::lock_guard lock(mutex_);
  const auto place = std::find_if(places_.begin(), places_.end(),
                                  [&](const Place& taken) { return taken.guest == &guest; });
  if (!place->sent_away) {
    bytes_ -= place->bytes;
    --guests_;
  }
  places_.erase(place);
}

}  // namespace nixbuild::narcache
