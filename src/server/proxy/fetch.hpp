// A small response, as a whole.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "server/proxy/http_loop.hpp"
#include "server/proxy/wake_list.hpp"

namespace nixbuild::proxy {

// Begins with its construction; wakes `waiting` once done. Its destruction cancels the request.
class Fetch final : public TransferSink {
 public:
  Fetch(HttpLoop& loop, const TransferRequest& request, std::size_t limit,
        const std::shared_ptr<WakeList>& waiting);

  bool done() const noexcept { return done_; }
  // Once done: empty if the response came.
  const std::string& error() const noexcept { return error_; }
  const ResponseHead& head() const noexcept { return head_; }
  const std::string& body() const noexcept { return body_; }
  std::chrono::steady_clock::duration time() const noexcept { return ended_ - began_; }
  std::string peer_address() const { return transfer_->peer_address(); }

  void on_head(const ResponseHead& head) override { head_ = head; }
  Take on_body(std::string_view bytes) override;
  void on_end(const std::string& error) override;

 private:
  const std::size_t limit_;
  const std::shared_ptr<WakeList> waiting_;
  const std::chrono::steady_clock::time_point began_;
  std::chrono::steady_clock::time_point ended_;
  ResponseHead head_;
  std::string body_;
  std::string error_;
  bool done_ = false;
  std::unique_ptr<Transfer> transfer_;
};

}  // namespace nixbuild::proxy
