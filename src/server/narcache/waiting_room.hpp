// Compressions that wait for a slow client, each of which holds its compressor's memory: some 20
// MiB for zstd, 100 MiB and more for xz. Together they keep within a bound, for which whoever has
// waited longest has to go. It gives up its compressor and begins anew should its client go on.
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
    // From any thread, with the room's lock held: it should leave() soon and give up its memory.
    virtual void send_away() noexcept = 0;

   protected:
    ~Guest() = default;
  };

  // `bytes`: of all guests' memory, but for one that is larger alone; `guests`: at once.
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
  std::list<Place> places_;  // who has waited longest first
  // Of those that have not been sent away:
  std::uint64_t bytes_ = 0;
  std::size_t guests_ = 0;
};

}  // namespace nixbuild::narcache
