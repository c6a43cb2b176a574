// Server-sent events (the HTML standard, "Server-sent events"), taken out of a stream of bytes.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace nixbuild::net {

struct ServerEvent {
  std::string type;  // "message" where the server named none
  std::string data;  // lines joined by '\n'
  std::string id;    // the last one that the stream told, of this event or an earlier one
};

class EventParser {
 public:
  // An event is held in memory until its end: at most `limit` bytes.
  explicit EventParser(std::size_t limit = std::size_t{16} << 20) : limit_(limit) {}

  // Takes the next bytes, cut anywhere. Throws FormatError when an event is too long.
  void feed(std::string_view bytes);
  // The next whole event; nothing until more is fed.
  std::optional<ServerEvent> take();

  // That of the last whole event: where to resume.
  const std::string& last_id() const noexcept { return last_id_; }
  // A new connection: forgets an event that was cut off, keeps the last id.
  void reset();

 private:
  void line(std::string_view text);

  std::size_t limit_;
  std::string buffer_;           // a line that has not ended
  bool skip_line_feed_ = false;  // the last byte was a carriage return
  bool at_start_ = true;         // a byte order mark may come
  std::string type_;
  std::string data_;
  bool has_data_ = false;
  std::string id_;  // of the event that has not ended
  std::string last_id_;
  std::deque<ServerEvent> events_;
};

}  // namespace nixbuild::net
