#include "server/proxy/fetch.hpp"

namespace nixbuild::proxy {

Fetch::Fetch(HttpLoop& loop, const TransferRequest& request, std::size_t limit,
             const std::shared_ptr<WakeList>& waiting)
    : limit_(limit),
      waiting_(waiting),
      began_(std::chrono::steady_clock::now()),
      ended_(began_),
      transfer_(loop.start(request, *this)) {}

TransferSink::Take Fetch::on_body(std::string_view bytes) {
  if (bytes.size() > limit_ - body_.size()) return Take::refuse;
  body_ += bytes;
  return Take::all;
}

void Fetch::on_end(const std::string& error) {
  error_ = error;
  ended_ = std::chrono::steady_clock::now();
  done_ = true;
  waiting_->wake_all();
}

}  // namespace nixbuild::proxy
