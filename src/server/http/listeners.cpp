#include "server/http/listeners.hpp"

#include <net/if.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "server/http/socket_address.hpp"

namespace nixbuild::http {
namespace {

// How long to wait before retrying an address that could not be bound.
constexpr std::chrono::milliseconds bind_retry{1'000};

// An IPv6 address can be written in several ways.
std::string canonical(const net::ListenAddress& address) {
  const auto* tcp = std::get_if<net::TcpAddress>(&address);
  if (tcp == nullptr) return net::to_string(address);
  return net::to_string(net::TcpAddress{host_of(to_socket_address(*tcp).storage), tcp->port});
}

// Whether the machine lacks the address or its family, as opposed to another program using it.
bool is_absent(int error) {
  return error == EADDRNOTAVAIL || error == EAFNOSUPPORT;
}

}  // namespace

Listeners::Listeners(const Workers& workers, std::shared_ptr<const Router> router)
    : workers_(workers), router_(std::move(router)), bind_timer_(workers.front()->executor()) {
  for (InheritedSocket& socket : inherited_sockets()) {
    inherited_.push_back({std::make_shared<const UniqueFd>(std::move(socket.fd)),
                          std::move(socket.address), socket.only_v6, router_});
  }
}

// Whether the inherited socket already receives connections to `address`, which then cannot be
// bound again.
bool Listeners::covers(const Inherited& inherited, const net::ListenAddress& address) {
  const auto* socket = std::get_if<net::TcpAddress>(&inherited.address);
  if (const auto* interface = std::get_if<net::InterfaceAddress>(&address)) {
    return socket != nullptr && socket->port == interface->port &&
           (socket->host == "0.0.0.0" || socket->host == "::");
  }
  if (canonical(inherited.address) == canonical(address)) return true;
  const auto* tcp = std::get_if<net::TcpAddress>(&address);
  if (socket == nullptr || tcp == nullptr || socket->port != tcp->port) return false;
  const bool is_v6 = to_socket_address(*tcp).storage.ss_family == AF_INET6;
  return is_v6 ? socket->host == "::"
               : socket->host == "0.0.0.0" || (socket->host == "::" && !inherited.only_v6);
}

// Gives each worker its own socket for one address (or one from each set of such sockets).
std::uint64_t Listeners::add_sockets(std::vector<UniqueFd> sockets,
                                     std::shared_ptr<const Router> router) {
  const std::uint64_t id = next_id_++;
  std::string url = url_of(sockets.front().get());
  for (std::size_t i = 0; i < sockets.size(); ++i) {
    ListenSocket socket{std::make_shared<const UniqueFd>(std::move(sockets[i])), router, id, false};
    Worker* worker = workers_[i % workers_.size()].get();
    worker->post([worker, socket = std::move(socket)]() mutable {
      worker->add_listener(std::move(socket));
    });
  }
  announce(id, std::move(url));
  return id;
}

// Lets all workers accept from one socket.
void Listeners::add_shared_socket(std::shared_ptr<const UniqueFd> fd,
                                  std::shared_ptr<const Router> router) {
  const std::uint64_t id = next_id_++;
  for (const auto& worker : workers_) {
    worker->post([target = worker.get(), socket = ListenSocket{fd, router, id, true}]() mutable {
      target->add_listener(std::move(socket));
    });
  }
  announce(id, url_of(fd->get()));
}

void Listeners::announce(std::uint64_t id, std::string url) {
  if (started_) log::info("listening on {}", url);
  const std::lock_guard lock(urls_mutex_);
  urls_[id] = std::move(url);
}

void Listeners::listen(Listener listener) {
  std::shared_ptr<const Router> router = listener.router ? listener.router : router_;
  for (Inherited& inherited : inherited_) {
    if (!covers(inherited, listener.address)) continue;
    inherited.router = std::move(router);
    return;
  }
  if (auto* interface = std::get_if<net::InterfaceAddress>(&listener.address)) {
    return follow(std::move(*interface), std::move(router));
  }
  if (!listener.required && !inherited_.empty()) return;
  if (const auto* file = std::get_if<net::UnixAddress>(&listener.address)) {
    UniqueFd fd = listen_unix(*file, listener.unix_mode);
    unix_files_.emplace_back(file->path);
    add_shared_socket(std::make_shared<const UniqueFd>(std::move(fd)), std::move(router));
    return;
  }
  try {
    add_sockets(listen_tcp(std::get<net::TcpAddress>(listener.address),
                           static_cast<unsigned>(workers_.size())),
                std::move(router));
  } catch (const SystemError& error) {
    if (listener.required || !is_absent(error.error_number())) throw;
    log::warn("{}", error.what());
  }
}

void Listeners::follow(net::InterfaceAddress address, std::shared_ptr<const Router> router) {
  FollowedInterface& followed = *followed_.emplace_back(std::make_unique<FollowedInterface>());
  followed.address = std::move(address);
  followed.router = std::move(router);
  // Start watching before the first read, so that no change in between is missed.
  if (!interface_watch_) {
    interface_watch_ = std::make_unique<InterfaceWatch>([this] { follow_interfaces(); });
  }
  bind_interface(followed, true);
  if (followed.bound.empty()) {
    log::warn("{}: will listen once the interface has an address",
              net::to_string(followed.address));
  }
}

void Listeners::add_inherited() {
  for (const Inherited& inherited : inherited_)
    add_shared_socket(inherited.fd, inherited.router);
  if (interface_watch_) workers_.front()->watch(interface_watch_->fd(), *interface_watch_);
}

void Listeners::start() {
  started_ = true;
  {
    const std::lock_guard lock(urls_mutex_);
    for (const auto& [id, url] : urls_)
      log::info("listening on {}", url);
  }
  follow_interfaces();
}

void Listeners::stop() {
  stopped_ = true;
  bind_timer_.cancel();
}

void Listeners::clear() {
  unix_files_.clear();
  const std::lock_guard lock(urls_mutex_);
  urls_.clear();
}

void Listeners::remove(std::uint64_t id) {
  for (const auto& worker : workers_) {
    worker->post([target = worker.get(), id] { target->remove_listener(id); });
  }
  const std::lock_guard lock(urls_mutex_);
  log::info("no longer listening on {}", urls_[id]);
  urls_.erase(id);
}

// Binds the interface's new addresses and closes sockets of those that are gone.
void Listeners::bind_interface(FollowedInterface& followed, bool at_start) {
  const std::set<std::string> present = interface_addresses(followed.address);
  // If the interface was removed and created again, the sockets still belong to the old one.
  const unsigned index = ::if_nametoindex(followed.address.interface.c_str());
  const bool same = followed.index == index;
  followed.index = index;
  for (auto it = followed.bound.begin(); it != followed.bound.end();) {
    if (same && present.contains(it->first)) {
      ++it;
      continue;
    }
    remove(it->second);
    it = followed.bound.erase(it);
  }
  std::erase_if(followed.failed,
                [&present](const std::string& host) { return !present.contains(host); });
  for (const std::string& host : present) {
    if (followed.bound.contains(host)) continue;
    try {
      followed.bound[host] =
          add_sockets(listen_tcp_on(followed.address.interface, {host, followed.address.port},
                                    static_cast<unsigned>(workers_.size())),
                      followed.router);
      followed.failed.erase(host);
    } catch (const SystemError& error) {
      if (at_start) throw;
      if (followed.failed.insert(host).second) log::warn("{}; trying again", error.what());
    }
  }
}

void Listeners::follow_interfaces() {
  if (!started_ || stopped_) return;
  bool failed = false;
  for (const auto& followed : followed_) {
    try {
      bind_interface(*followed, false);
      failed = failed || !followed->failed.empty();
    } catch (const std::exception& error) {
      log::warn("{}: {}", net::to_string(followed->address), error.what());
      failed = true;
    }
  }
  if (failed) schedule_bind_retry();
}

void Listeners::schedule_bind_retry() {
  bind_timer_.expires_after(bind_retry);
  bind_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) follow_interfaces();
  });
}

std::vector<std::string> Listeners::addresses() const {
  const std::lock_guard lock(urls_mutex_);
  std::vector<std::string> result;
  for (const auto& [id, url] : urls_)
    result.push_back(url);
  return result;
}

}  // namespace nixbuild::http
