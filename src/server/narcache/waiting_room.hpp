// Limits the memory of compressions that wait for slow clients. Each holds its compressor's memory:
// about 20 MiB for zstd, 100 MiB and more for xz. Above the limit, the compression that has waited
// longest must leave: it frees its compressor, and starts again if its client continues.
//
// Every function may be called from any thread.
#pragma once

#include <cstdint>
#include <list>
#include <mutex>

namespace nixbuild::narcache {

class WaitingRoom {
 public:
  class Guest {
   public:
    // Called from any thread, with the room's lock held: the guest should leave() soon and free its
    // memory.
    virtual void send_away() noexcept = 0;

   protected:
    ~Guest() = default;
  };

  // `bytes`: limit for the memory of all guests, but a single larger guest may stay; `guests`:
  // their maximum number.
  WaitingRoom(std::uint64_t bytes, std::size_t guests) : most_bytes_(bytes), most_guests_(guests) {}

  void enter(Guest& guest, std::uint64_t bytes);
  void leave(Guest& guest);

 private:
  struct Place {
    Guest* guest;
    std::uint64_t bytes;
    bool sent_away;
  };

  const std::uint64_t most_bytes_;
  const std::size_t most_guests_;
  std::mutex mutex_;
  std::list<Place> places_;  // the longest waiting first
  // Of guests that have not been sent away:
  std::uint64_t bytes_ = 0;
  std::size_t guests_ = 0;
};

}  // namespace nixbuild::narcache
