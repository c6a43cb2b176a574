#include "common/net/event_parser.hpp"

#include <utility>

#include "common/base/error.hpp"

namespace nixbuild::net {

void EventParser::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    if (std::exchange(skip_line_feed_, false) && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      continue;
    }
    const std::size_t end = bytes.find_first_of("\r\n");
    const std::string_view part = bytes.substr(0, end);
    if (buffer_.size() + data_.size() + part.size() > limit_) {
      throw FormatError("an event of the stream is too long");
    }
    if (end == std::string_view::npos) {
      buffer_ += part;
      return;
    }
    skip_line_feed_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    if (buffer_.empty()) {
      line(part);
    } else {
      buffer_ += part;
      line(std::exchange(buffer_, {}));
    }
  }
}

void EventParser::line(std::string_view text) {
  if (std::exchange(at_start_, false) && text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  if (text.empty()) {  // the event's end
    last_id_ = id_;
    if (std::exchange(has_data_, false)) {
      events_.push_back(
          {type_.empty() ? "message" : std::move(type_), std::exchange(data_, {}), last_id_});
    }
    type_.clear();
    return;
  }
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  std::string_view value;
  if (colon != std::string_view::npos) {
    value = text.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
  }
  if (name == "data") {
    if (has_data_) data_ += '\n';
    data_ += value;
    has_data_ = true;
  } else if (name == "event") {
    type_ = value;
  } else if (name == "id" && value.find('\0') == std::string_view::npos) {
    id_ = value;
  }
}

std::optional<ServerEvent> EventParser::take() {
  if (events_.empty()) return std::nullopt;
  std::optional<ServerEvent> event = std::move(events_.front());
  events_.pop_front();
  return event;
}

void EventParser::reset() {
  buffer_.clear();
  skip_line_feed_ = false;
  at_start_ = true;
  type_.clear();
  id_ = last_id_;
  data_.clear();
  has_data_ = false;
}

}  // namespace nixbuild::net
