#include "server/http/request_parser.hpp"

#include <boost/beast/http/error.hpp>
#include <functional>
#include <utility>

#include "server/http/ascii.hpp"

namespace nixbuild::http {
namespace {

namespace beast_http = boost::beast::http;

// More headers than any client sends; limits the cost of searching them.
constexpr std::size_t max_fields = 128;
// Longer than the name of any method in use (characters).
constexpr std::size_t longest_method = 32;
// The limit for a chunk's first line with its extensions, and for the trailers (bytes). Far more
// than any client sends; Beast's own limit depends on its version.
constexpr std::size_t chunk_line_limit = 4096;
constexpr std::uint32_t trailer_limit = 8192;
// How much of a body's memory a connection keeps for its next request.
constexpr std::size_t kept_capacity = 4096;

std::string_view view(boost::beast::string_view text) {
  return {text.data(), text.size()};
}

// Accepts only characters that are valid or harmless in an authority; others could make two readers
// of a Host header see different hosts.
bool is_authority(std::string_view host) {
  return host.find_first_of(std::string_view(" \t/\\@?#<>\"{}|^`,\0", 17)) ==
         std::string_view::npos;
}

bool within(std::string_view part, std::string_view whole) {
  const std::less_equal<const char*> not_after;
  return not_after(whole.data(), part.data()) &&
         not_after(part.data() + part.size(), whole.data() + whole.size());
}

}  // namespace

void RequestParser::begin() {
  beast_.emplace(*this);
  // The buffer's size is the limit; Beast would count its own line by line.
  beast_->header_limit(static_cast<std::uint32_t>(-1));
  beast_->body_limit(boost::none);
  consumed_ = 0;
  fields_.clear();
  body_.clear();
  if (body_.capacity() > kept_capacity) body_.shrink_to_fit();
  content_length_ = 0;
  version_ = 0;
  method_ = Method::other;
  is_head_ = header_done_ = chunked_ = keep_alive_ = host_seen_ = encoding_seen_ = false;
  origin_seen_ = fetch_site_seen_ = false;
  method_text_ = target_ = host_ = range_ = if_range_ = if_none_match_ = expect_ = {};
}

void RequestParser::Beast::on_request_impl(beast_http::verb verb, string_view method,
                                           string_view target, int version, error_code& error) {
  switch (verb) {
    case beast_http::verb::get:
      owner_.method_ = Method::get;
      break;
    case beast_http::verb::head:
      owner_.method_ = Method::get;
      owner_.is_head_ = true;
      break;
    case beast_http::verb::post:
      owner_.method_ = Method::post;
      break;
    case beast_http::verb::put:
      owner_.method_ = Method::put;
      break;
    case beast_http::verb::delete_:
      owner_.method_ = Method::del;
      break;
    case beast_http::verb::options:
      owner_.method_ = Method::options;
      break;
    default:
      owner_.method_ = Method::other;
      break;
  }
  owner_.method_text_ = view(method);
  owner_.target_ = view(target);
  owner_.version_ = version;
  if (owner_.target_.size() > owner_.target_limit_) error = beast_http::error::bad_target;
  if (method.size() > longest_method) error = beast_http::error::bad_method;
}

void RequestParser::Beast::on_field_impl(beast_http::field field, string_view name,
                                         string_view value, error_code& error) {
  // Ignore trailers: nothing may depend on what follows a body.
  if (owner_.header_done_) return;
  const std::string_view text = view(value);
  // A folded line is not contiguous in the buffer. Folding is obsolete, and a server may reject it
  // (RFC 9112, 5.2).
  if (!within(text, owner_.bytes_)) {
    error = beast_http::error::bad_value;
    return;
  }
  if (owner_.fields_.size() == max_fields) {
    error = beast_http::error::header_limit;
    return;
  }
  owner_.fields_.push_back({view(name), text});
  switch (field) {
    case beast_http::field::host:
      if (owner_.host_seen_ || !is_authority(text)) error = beast_http::error::bad_value;
      owner_.host_seen_ = true;
      owner_.host_ = text;
      break;
    case beast_http::field::transfer_encoding:
      if (owner_.encoding_seen_ || !iequals(text, "chunked")) {
        error = beast_http::error::bad_transfer_encoding;
      }
      owner_.encoding_seen_ = true;
      break;
    // If there are two, the server and a proxy in front of it could each use a different one.
    case beast_http::field::origin:
      if (std::exchange(owner_.origin_seen_, true)) error = beast_http::error::bad_value;
      break;
    case beast_http::field::sec_fetch_site:
      if (std::exchange(owner_.fetch_site_seen_, true)) error = beast_http::error::bad_value;
      break;
    case beast_http::field::range:
      owner_.range_ = text;
      break;
    case beast_http::field::if_range:
      owner_.if_range_ = text;
      break;
    case beast_http::field::if_none_match:
      owner_.if_none_match_ = text;
      break;
    case beast_http::field::expect:
      owner_.expect_ = text;
      break;
    default:
      break;
  }
}

std::size_t RequestParser::Beast::on_body_impl(string_view bytes, error_code&) {
  owner_.body_.append(bytes.data(), bytes.size());
  return bytes.size();
}

std::size_t RequestParser::Beast::on_chunk_body_impl(std::uint64_t, string_view bytes,
                                                     error_code&) {
  owner_.body_.append(bytes.data(), bytes.size());
  return bytes.size();
}

void RequestParser::Beast::on_chunk_header_impl(std::uint64_t, string_view extension,
                                                error_code& error) {
  if (extension.size() > chunk_line_limit) error = beast_http::error::header_limit;
}

RequestParser::State RequestParser::fail(unsigned status, const char* reason) {
  refusal_ = {status, reason};
  return State::failed;
}

RequestParser::State RequestParser::fail(const boost::beast::error_code& error) {
  if (error == beast_http::error::header_limit) return fail(431, "too many headers");
  if (error == beast_http::error::body_limit) return fail(413, "the request body is too long");
  if (target_.size() > target_limit_) return fail(414, "the request target is too long");
  return fail(400, "malformed request");
}

RequestParser::State RequestParser::parse_header(std::string_view bytes) {
  bytes_ = bytes;
  boost::beast::error_code error;
  const std::string_view rest = bytes.substr(consumed_);
  consumed_ += beast_->put(boost::asio::const_buffer(rest.data(), rest.size()), error);
  if (error == beast_http::error::need_more) {
    // Reject a long target before it is complete. Beast may not have looked at the line yet.
    const std::size_t longest_line =
        longest_method + target_limit_ + std::string_view("  HTTP/1.1\r\n").size();
    if (bytes.size() > longest_line && bytes.substr(0, longest_line).find('\n') == bytes.npos) {
      return fail(414, "the request target is too long");
    }
    return State::need_more;
  }
  if (error) return fail(error);
  if (!beast_->is_header_done()) return State::need_more;
  return finish_header();
}

RequestParser::State RequestParser::finish_header() {
  header_done_ = true;
  chunked_ = beast_->chunked();
  keep_alive_ = beast_->keep_alive();
  if (const auto length = beast_->content_length()) content_length_ = *length;
  // HTTP/1.0 has no transfer encoding, so a proxy may have framed the body differently.
  if (encoding_seen_ && version_ < 11) return fail(400, "Transfer-Encoding in HTTP/1.0");
  if (version_ >= 11 && !host_seen_) return fail(400, "missing Host header");
  return State::done;
}

void RequestParser::limit_body(std::size_t limit) {
  beast_->body_limit(limit);
  beast_->header_limit(trailer_limit);
  beast_->eager(true);
}

RequestParser::State RequestParser::parse_body(std::string_view bytes, std::size_t& consumed) {
  consumed = 0;
  if (beast_->is_done()) return State::done;
#if BOOST_BEAST_VERSION < 359  // before Boost 1.90
  // Once Beast has the first line of the last chunk, it assumes that the whole chunk has arrived,
  // and otherwise aborts the process. So until a chunked body is complete, at least this much must
  // follow: "0\r\n\r\n".
  constexpr std::size_t shortest_last_chunk = 5;
  if (chunked_ && bytes.size() < shortest_last_chunk) return State::need_more;
#endif
  boost::beast::error_code error;
  consumed = beast_->put(boost::asio::const_buffer(bytes.data(), bytes.size()), error);
  if (!error) return beast_->is_done() ? State::done : State::need_more;
  const bool needs_more = error == beast_http::error::need_more;
  if (chunked_ && (needs_more || error == beast_http::error::bad_chunk_extension)) {
    // The rest begins with a chunk's first line, after the line break that ends the previous chunk.
    const std::string_view line = bytes.substr(consumed);
    if (line.size() >= chunk_line_limit && line.find('\n', 2) == line.npos) {
      return fail(431, "the chunk header is too long");
    }
  }
  return needs_more ? State::need_more : fail(error);
}

std::string_view RequestParser::get(std::string_view name) const {
  for (const Field& field : fields_) {
    if (iequals(field.name, name)) return field.value;
  }
  return {};
}

}  // namespace nixbuild::http
