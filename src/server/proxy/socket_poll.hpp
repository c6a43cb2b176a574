// Waits for sockets that a library opens and closes by itself, as libcurl does, on an Asio
// executor.
//
// Asio's own descriptors want to own their sockets. Here, an epoll set stands between: it is the
// one descriptor that Asio waits for. Everything that depends on epoll is in socket_poll.cpp.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <functional>
#include <memory>

namespace nixbuild::proxy {

class SocketPoll {
 public:
  struct Ready {
    int fd = -1;
    bool readable = false;
    bool writable = false;
    bool failed = false;
  };
  // `on_ready` is called on the executor's thread; it may call the functions below.
  SocketPoll(const boost::asio::any_io_executor& executor,
             std::function<void(const Ready&)> on_ready);
  ~SocketPoll();
  SocketPoll(const SocketPoll&) = delete;
  SocketPoll& operator=(const SocketPoll&) = delete;

  // Adds the socket, or changes what is waited for. Throws SystemError.
  void watch(int fd, bool read, bool write);
  // To be called before the socket is closed.
  void unwatch(int fd);

 private:
  void wait();
  void deliver();

  const std::function<void(const Ready&)> on_ready_;
  boost::asio::posix::stream_descriptor epoll_;
  // Whether this object still exists, for work that is posted.
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace nixbuild::proxy
