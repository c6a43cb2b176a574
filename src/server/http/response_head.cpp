#include "server/http/response_head.hpp"

#include <fmt/format.h>

#include <array>
#include <boost/beast/http/status.hpp>
#include <charconv>
#include <ctime>
#include <stdexcept>

namespace nixbuild::http {
namespace {

void append_number(std::string& out, std::uint64_t number) {
  std::array<char, 20> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

void append_header(std::string& out, std::string_view name, std::string_view value) {
  constexpr std::string_view breaks("\r\n\0", 3);
  if (name.find_first_of(breaks) != std::string_view::npos ||
      value.find_first_of(breaks) != std::string_view::npos) {
    throw std::logic_error(fmt::format("the response header {} has a line break in it", name));
  }
  out += name;
  out += ": ";
  out += value;
  out += "\r\n";
}

}  // namespace

void append_head(std::string& out, const Response& response, const HeadFacts& facts) {
  if (facts.status == 200) {
    out += "HTTP/1.1 200 OK\r\n";
  } else {
    out += "HTTP/1.1 ";
    append_number(out, facts.status);
    out += ' ';
    const auto reason =
        boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(facts.status));
    out.append(reason.data(), reason.size());
    out += "\r\n";
  }
  out += facts.date;
  // Answers include text from builds and repositories, so browsers must not guess a type for it.
  out += "X-Content-Type-Options: nosniff\r\n";
  if (facts.framing != Framing::none && !response.content_type.empty()) {
    append_header(out, "Content-Type", response.content_type);
  }
  switch (facts.framing) {
    case Framing::length:
      out += "Content-Length: ";
      append_number(out, facts.length);
      out += "\r\n";
      break;
    case Framing::chunked:
      out += "Transfer-Encoding: chunked\r\n";
      break;
    case Framing::close:
    case Framing::none:
      break;
  }
  if (!facts.content_range.empty()) append_header(out, "Content-Range", facts.content_range);
  if (response.accept_ranges) out += "Accept-Ranges: bytes\r\n";
  if (!response.etag.empty()) append_header(out, "ETag", response.etag);
  if (!response.cache_control.empty()) {
    append_header(out, "Cache-Control", response.cache_control);
  }
  for (const auto& [name, value] : response.headers)
    append_header(out, name, value);
  if (!facts.connection.empty()) append_header(out, "Connection", facts.connection);
  out += "\r\n";
}

std::string date_line(std::int64_t seconds) {
  static constexpr std::array<const char*, 7> days = {"Sun", "Mon", "Tue", "Wed",
                                                      "Thu", "Fri", "Sat"};
  static constexpr std::array<const char*, 12> months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t time = seconds;
  std::tm utc{};
  ::gmtime_r(&time, &utc);
  return fmt::format("Date: {}, {:02} {} {} {:02}:{:02}:{:02} GMT\r\n",
                     days[static_cast<std::size_t>(utc.tm_wday)], utc.tm_mday,
                     months[static_cast<std::size_t>(utc.tm_mon)], utc.tm_year + 1900, utc.tm_hour,
                     utc.tm_min, utc.tm_sec);
}

}  // namespace nixbuild::http
