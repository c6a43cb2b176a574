// Parses a request with Beast, made strict wherever two readers of one byte stream could disagree
// (request smuggling). Produces views of the buffer instead of copies.
#pragma once

#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/version.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/request.hpp"

namespace nixbuild::http {

class RequestParser final : public RequestHeaders {
 public:
  enum class State : std::uint8_t { need_more, done, failed };

  // The response to a rejected request; valid after State::failed.
  struct Refusal {
    unsigned status = 400;
    const char* reason = "";
  };

  explicit RequestParser(std::size_t target_limit) : target_limit_(target_limit) { begin(); }

  // Forgets the last request.
  void begin();

  // `bytes` is the request so far, from its first byte. After need_more, call it again with more
  // data at the same address. The returned views point into it.
  State parse_header(std::string_view bytes);
  std::size_t header_size() const noexcept { return consumed_; }  // bytes, when done

  // Whether a body follows, and its announced size.
  bool has_body() const noexcept { return chunked_ || content_length_ > 0; }
  bool chunked() const noexcept { return chunked_; }
  std::uint64_t content_length() const noexcept { return content_length_; }

  // Appends body bytes to body(), at most `limit` in total (set before the first call). Sets
  // `consumed` to how many of `bytes` were used; pass the rest again next time.
  void limit_body(std::size_t limit);
  State parse_body(std::string_view bytes, std::size_t& consumed);
  const std::string& body() const noexcept { return body_; }

  const Refusal& refusal() const noexcept { return refusal_; }

  Method method() const noexcept { return method_; }
  bool is_head() const noexcept { return is_head_; }
  std::string_view method_text() const noexcept { return method_text_; }
  std::string_view target() const noexcept { return target_; }
  int version() const noexcept { return version_; }  // 10 or 11
  bool keep_alive() const noexcept { return keep_alive_; }
  // Headers that the server itself uses; empty if absent.
  std::string_view host() const noexcept { return host_; }
  std::string_view range() const noexcept { return range_; }
  std::string_view if_range() const noexcept { return if_range_; }
  std::string_view if_none_match() const noexcept { return if_none_match_; }
  std::string_view expect() const noexcept { return expect_; }

  std::string_view get(std::string_view name) const override;

 private:
  // Beast's callbacks.
  class Beast final : public boost::beast::http::basic_parser<true> {
   public:
    explicit Beast(RequestParser& owner) : owner_(owner) {}

   private:
    using error_code = boost::beast::error_code;
    using string_view = boost::beast::string_view;

    void on_request_impl(boost::beast::http::verb verb, string_view method, string_view target,
                         int version, error_code& error) override;
    void on_response_impl(int, string_view, int, error_code&) override {}
    void on_field_impl(boost::beast::http::field field, string_view name, string_view value,
                       error_code& error) override;
#if BOOST_BEAST_VERSION >= 359  // Boost 1.90; earlier versions pass trailers to on_field_impl
    void on_trailer_field_impl(boost::beast::http::field, string_view, string_view,
                               error_code&) override {}
#endif
    void on_header_impl(error_code&) override {}
    void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
    std::size_t on_body_impl(string_view bytes, error_code&) override;
    void on_chunk_header_impl(std::uint64_t, string_view extension, error_code& error) override;
    std::size_t on_chunk_body_impl(std::uint64_t, string_view bytes, error_code&) override;
    void on_finish_impl(error_code&) override {}

    RequestParser& owner_;
  };

  struct Field {
    std::string_view name;
    std::string_view value;
  };

  State fail(unsigned status, const char* reason);
  State fail(const boost::beast::error_code& error);
  State finish_header();

  std::optional<Beast> beast_;
  std::size_t target_limit_;
  std::size_t consumed_ = 0;
  std::string_view bytes_;  // what is being parsed
  std::vector<Field> fields_;
  std::string body_;
  Refusal refusal_;
  std::uint64_t content_length_ = 0;
  int version_ = 0;
  Method method_ = Method::other;
  bool is_head_ = false;
  bool header_done_ = false;
  bool chunked_ = false;
  bool keep_alive_ = false;
  bool host_seen_ = false;
  bool encoding_seen_ = false;
  bool origin_seen_ = false;
  bool fetch_site_seen_ = false;
  std::string_view method_text_;
  std::string_view target_;
  std::string_view host_;
  std::string_view range_;
  std::string_view if_range_;
  std::string_view if_none_match_;
  std::string_view expect_;
};

}  // namespace nixbuild::http
