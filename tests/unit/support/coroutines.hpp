// Runs coroutines that a server's thread would run.
#pragma once

#include <unistd.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "server/http/response.hpp"

namespace nixbuild::test {

// Runs a coroutine to its end on this thread and returns its result.
template <typename Result>
Result run(boost::asio::awaitable<Result> coroutine) {
  boost::asio::io_context context(1);
  std::exception_ptr thrown;
  std::optional<Result> result;
  boost::asio::co_spawn(context, std::move(coroutine), [&](std::exception_ptr error, Result value) {
    thrown = error;
    if (!error) result = std::move(value);
  });
  context.run();
  if (thrown) std::rethrow_exception(thrown);
  return std::move(*result);
}

inline void run(boost::asio::awaitable<void> coroutine) {
  boost::asio::io_context context(1);
  std::exception_ptr thrown;
  boost::asio::co_spawn(context, std::move(coroutine),
                        [&](std::exception_ptr error) { thrown = error; });
  context.run();
  if (thrown) std::rethrow_exception(thrown);
}

// Keeps what is written to it.
class StringWriter final : public http::BodyWriter {
 public:
  boost::asio::awaitable<void> write(std::string_view bytes) override {
    text += bytes;
    if (on_bytes) on_bytes();
    co_return;
  }
  boost::asio::awaitable<void> send_file(int fd, std::uint64_t offset,
                                         std::uint64_t length) override {
    const std::size_t before = text.size();
    text.resize(before + length);
    std::size_t got = 0;
    while (got < length) {
      const ssize_t n =
          ::pread(fd, text.data() + before + got, length - got, static_cast<off_t>(offset + got));
      if (n <= 0) throw std::runtime_error("the file is shorter than was said");
      got += static_cast<std::size_t>(n);
    }
    if (on_bytes) on_bytes();
    co_return;
  }

  std::string text;
  std::function<void()> on_bytes;
};

// The bytes of a body as a client would get them: all, or those of a range.
inline std::string body_text(const http::Response& response, std::uint64_t offset = 0,
                             std::uint64_t length = UINT64_MAX) {
  StringWriter writer;
  if (const auto* text = std::get_if<std::string>(&response.body)) return *text;
  if (const auto* text = std::get_if<http::SharedText>(&response.body)) return **text;
  if (const auto* file = std::get_if<http::FileBody>(&response.body)) {
    const std::uint64_t end = length == UINT64_MAX ? file->size : offset + length;
    run(writer.send_file(file->file->get(), offset, end - offset));
  } else if (const auto* stream = std::get_if<http::StreamBody>(&response.body)) {
    if (stream->size && length == UINT64_MAX) length = *stream->size - offset;
    run(stream->produce(writer, offset, length));
  }
  return writer.text;
}

}  // namespace nixbuild::test
