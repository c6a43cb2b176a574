// A stream of server-sent events that survives lost connections: if the server restarts or the
// laptop sleeps, it reconnects and resumes after the last event.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "common/net/event_parser.hpp"
#include "common/net/http_client.hpp"

namespace nixbuild::net {

// When to reconnect: soon at first, then less and less often, with jitter so that the clients of a
// restarted server don't reconnect all at once.
class Backoff {
 public:
  static constexpr std::chrono::milliseconds first{250};
  static constexpr std::chrono::milliseconds most{10'000};

  // The delay before the next try. `chance` from 0 to 1 varies it by a fifth in either direction.
  std::chrono::milliseconds next(double chance) noexcept;
  void reset() noexcept { wait_ = first; }

 private:
  std::chrono::milliseconds wait_ = first;
};

struct StreamTimes {
  // A connection without data for this long counts as dead. A server sends something more often.
  std::chrono::seconds silence{45};
  // How long to keep reconnecting, not counting suspend time.
  std::chrono::seconds patience{900};
};

class EventStream {
 public:
  // Connects at the first wait(). `path` is as for HttpClient::get. The options' total timeout
  // bounds the time to the head of the response, not the stream.
  EventStream(HttpOptions options, std::string path, StreamTimes times = {});
  ~EventStream();
  EventStream(EventStream&&) noexcept;
  EventStream& operator=(EventStream&&) noexcept;

  struct News {
    enum class Kind {
      event,    // `event` is set
      nothing,  // the timeout has passed, or `wake_fd` is readable
      lost,     // the connection was lost because of `reason`, and is reconnecting; reported once
      regained  // reconnected
    };
    Kind kind = Kind::nothing;
    ServerEvent event;
    std::string reason;
  };

  // Waits for the next outcome. Throws UnreachableError or RefusedError if the first connection
  // fails, if reconnecting fails for `patience`, and if the server answers that the resource is
  // absent or forbidden.
  News wait(std::chrono::milliseconds timeout, int wake_fd = -1);

  // The server's clock minus this machine's, by the head of the last response; zero if it has no
  // date.
  std::chrono::seconds clock_offset() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nixbuild::net
