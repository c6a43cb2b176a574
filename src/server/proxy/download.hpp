// A large response, piece by piece: the upstream is held back by a slow client, and given up when
// it is slow itself.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/error.hpp"
#include "server/proxy/http_loop.hpp"
#include "server/proxy/upstream.hpp"
#include "server/proxy/wake_list.hpp"

namespace nixbuild::proxy {

// The upstream did not send what was asked for.
class DownloadError : public Error {
 public:
  using Error::Error;
};

class Download final : public TransferSink {
 public:
  // Begins to fetch `path`, relative to the upstream's base URL, from byte `offset` on.
  Download(HttpLoop& loop, Upstream& upstream, std::string_view path, std::uint64_t offset);

  // Each throws DownloadError.
  boost::asio::awaitable<void> wait_for_head();
  // Replaces `bytes` by the next ones; false at the end.
  boost::asio::awaitable<bool> read(std::string& bytes);

  const ResponseHead& head() const noexcept { return head_; }

  void on_head(const ResponseHead& head) override;
  Take on_body(std::string_view bytes) override;
  void on_end(const std::string& error) override;

 private:
  boost::asio::awaitable<void> wait(bool for_head);

  Upstream& upstream_;
  const std::shared_ptr<WakeList> changed_ = std::make_shared<WakeList>();
  ResponseHead head_;
  bool has_head_ = false;
  std::string buffer_;
  bool is_paused_ = false;
  bool done_ = false;
  std::string error_;
  // How fast it is, counting only time in which the client waits.
  std::chrono::steady_clock::duration waited_{0};
  std::uint64_t received_ = 0;
  std::unique_ptr<Transfer> transfer_;
};

}  // namespace nixbuild::proxy
