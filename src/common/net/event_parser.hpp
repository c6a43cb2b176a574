// Parses server-sent events (the HTML standard, "Server-sent events") from a stream of bytes.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace nixbuild::net {

struct ServerEvent {
  std::string type;  // "message" if the server named none
  std::string data;  // lines joined by '\n'
  std::string id;    // the last one of the stream, from this event or an earlier one
};

class EventParser {
 public:
  // An event is held in memory until its end: at most `limit` bytes.
  explicit EventParser(std::size_t limit = std::size_t{16} << 20) : limit_(limit) {}

  // Parses the next bytes, in pieces of any size. Throws FormatError if an event is too long.
  void feed(std::string_view bytes);
  // The next whole event; nothing if more bytes are needed.
  std::optional<ServerEvent> take();

  // The id of the last whole event: where to resume.
  const std::string& last_id() const noexcept { return last_id_; }
  // For a new connection: discards an incomplete event and keeps the last id.
  void reset();

 private:
  void line(std::string_view text);

  std::size_t limit_;
  std::string buffer_;           // an incomplete line
  bool skip_line_feed_ = false;  // the last byte was a carriage return
  bool at_start_ = true;         // a byte order mark may follow
  std::string type_;
  std::string data_;
  bool has_data_ = false;
  std::string id_;  // of the incomplete event
  std::string last_id_;
  std::deque<ServerEvent> events_;
};

}  // namespace nixbuild::net
