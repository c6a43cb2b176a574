// A stream of server-sent events that outlives its connection: when that is lost (the server
// restarts, the laptop sleeps), it is made anew and resumes behind the last event.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "common/net/event_parser.hpp"
#include "common/net/http_client.hpp"

namespace nixbuild::net {

// When to try again: soon at first, then less and less often, never quite at the same time as the
// other clients of a server that was restarted.
class Backoff {
 public:
  static constexpr std::chrono::milliseconds first{250};
  static constexpr std::chrono::milliseconds most{10'000};

  // How long to wait before the next try. `chance` from 0 to 1 spreads it by a fifth either way.
  std::chrono::milliseconds next(double chance) noexcept;
  void reset() noexcept { wait_ = first; }

 private:
  std::chrono::milliseconds wait_ = first;
};

struct StreamTimes {
  // A connection on which nothing comes for so long is taken for dead. A server sends something
  // more often.
  std::chrono::seconds silence{45};
  // For so long, in which the machine was awake, the server is tried for again.
  std::chrono::seconds patience{900};
};

class EventStream {
 public:
  // Connects at the first wait(). `path` as HttpClient::get has it. The options' total timeout is
  // not for the stream, but for the time to the head of its answer.
  EventStream(HttpOptions options, std::string path, StreamTimes times = {});
  ~EventStream();
  EventStream(EventStream&&) noexcept;
  EventStream& operator=(EventStream&&) noexcept;

  struct News {
    enum class Kind {
      event,    // `event` has come
      nothing,  // the time is over, or `wake_fd` is readable
      lost,     // the connection is gone, because of `reason`, and is being made anew; told once
      regained  // and is there again
    };
    Kind kind = Kind::nothing;
    ServerEvent event;
    std::string reason;
  };

  // The next thing that happens. Throws UnreachableError or RefusedError when there is no answer
  // to the first connection, when there was none for `patience`, and when the server answers that
  // what the path names is not, or no longer, there or allowed.
  News wait(std::chrono::milliseconds timeout, int wake_fd = -1);

  // The server's clock minus this machine's, by the head of the last answer; zero where it does not
  // tell its time.
  std::chrono::seconds clock_offset() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nixbuild::net
