// Where a server listens: its own addresses, those of interfaces that come and go, unix sockets,
// and sockets inherited from the service manager. Distributes the sockets to the workers.
//
// Use it before the workers run, and afterwards only on the first worker's thread; addresses() may
// be called on any thread.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "server/http/interface_watch.hpp"
#include "server/http/listen_sockets.hpp"
#include "server/http/server.hpp"
#include "server/http/worker.hpp"

namespace nixbuild::http {

class Listeners {
 public:
  using Workers = std::vector<std::unique_ptr<Worker>>;

  // Takes over the sockets passed to this process; they get `router`. `workers` must not be empty
  // and must outlive this; the first of them runs the timers.
  Listeners(const Workers& workers, std::shared_ptr<const Router> router);

  void listen(Listener listener);  // as Server::listen
  // Gives the inherited sockets to the workers; do not call listen() after this.
  void add_inherited();
  // To be called when the workers run: logs each address and starts to follow interfaces.
  void start();
  // Stops following interfaces.
  void stop();
  // Removes the files of unix sockets and forgets all addresses.
  void clear();
  std::vector<std::string> addresses() const;

 private:
  struct Inherited {
    std::shared_ptr<const UniqueFd> fd;
    net::ListenAddress address;
    bool only_v6;
    std::shared_ptr<const Router> router;
  };

  // An interface whose addresses are bound as they appear.
  struct FollowedInterface {
    net::InterfaceAddress address;
    std::shared_ptr<const Router> router;
    unsigned index = 0;                          // of the interface whose addresses are bound
    std::map<std::string, std::uint64_t> bound;  // address -> id
    std::set<std::string> failed;
  };

  static bool covers(const Inherited& inherited, const net::ListenAddress& address);
  void follow(net::InterfaceAddress address, std::shared_ptr<const Router> router);
  std::uint64_t add_sockets(std::vector<UniqueFd> sockets, std::shared_ptr<const Router> router);
  void add_shared_socket(std::shared_ptr<const UniqueFd> fd, std::shared_ptr<const Router> router);
  void announce(std::uint64_t id, std::string url);
  void bind_interface(FollowedInterface& followed, bool at_start);
  void remove(std::uint64_t id);
  void follow_interfaces();
  void schedule_bind_retry();

  const Workers& workers_;
  const std::shared_ptr<const Router> router_;
  std::vector<Inherited> inherited_;
  std::vector<UnixSocketFile> unix_files_;
  std::vector<std::unique_ptr<FollowedInterface>> followed_;
  std::unique_ptr<InterfaceWatch> interface_watch_;
  boost::asio::steady_timer bind_timer_;
  std::uint64_t next_id_ = 1;
  bool started_ = false;
  bool stopped_ = false;

  mutable std::mutex urls_mutex_;
  std::map<std::uint64_t, std::string> urls_;
};

}  // namespace nixbuild::http
