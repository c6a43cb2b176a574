#include "server/store/daemon_connection.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <string>
#include <thread>

#include "../support/eventually.hpp"
#include "common/base/unique_fd.hpp"
#include "test_support.hpp"

using namespace nixbuild;
using namespace nixbuild::store;
using namespace nixbuild::store::test;
using namespace std::chrono_literals;
using State = DaemonConnection::State;

namespace {

// A response of a daemon with protocol 1.34 to a client with 1.21: greeting, version, end of its
// log.
const std::string answer("oixd\0\0\0\0\x22\x01\0\0\0\0\0\0stla\0\0\0\0", 24);

class FakeDaemon {
 public:
  explicit FakeDaemon(const fs::path& socket) {
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, socket.c_str());
    REQUIRE(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    REQUIRE(::listen(listener_.get(), 5) == 0);
  }
  void accept() { peer_.reset(::accept(listener_.get(), nullptr, nullptr)); }
  std::string receive(std::size_t size) {
    std::string bytes(size, '\0');
    REQUIRE(::recv(peer_.get(), bytes.data(), size, MSG_WAITALL) == static_cast<ssize_t>(size));
    return bytes;
  }
  void send(const std::string& bytes) {
    REQUIRE(::send(peer_.get(), bytes.data(), bytes.size(), 0) ==
            static_cast<ssize_t>(bytes.size()));
  }
  void hang_up() { peer_.reset(); }

 private:
  UniqueFd listener_;
  UniqueFd peer_;
};

}  // namespace

TEST_CASE("nobody listens, and then somebody does") {
  const TemporaryDirectory directory;
  const fs::path socket = directory.path() / "socket";
  DaemonConnection connection(socket);
  CHECK(connection.advance() == State::absent);
  write_text(socket, "");
  std::this_thread::sleep_for(110ms);  // until the next try
  CHECK(connection.advance() == State::absent);
  fs::remove(socket);
  FakeDaemon daemon(socket);
  CHECK(connection.advance() == State::absent);  // no new try yet
  CHECK(nixbuild::test::eventually([&] { return connection.advance() == State::pending; }));
}

TEST_CASE("a path too long for a socket is nobody, too") {
  DaemonConnection connection("/" + std::string(200, 'x'));
  CHECK(connection.advance() == State::absent);
}

TEST_CASE("the daemon answers, piece by piece, with words before the end") {
  const TemporaryDirectory directory;
  FakeDaemon daemon(directory.path() / "socket");
  DaemonConnection connection(directory.path() / "socket");
  CHECK(connection.advance() == State::pending);
  daemon.accept();
  CHECK(daemon.receive(32) ==
        std::string("cxin\0\0\0\0\x15\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32));
  daemon.send(answer.substr(0, 5));
  CHECK(connection.advance() == State::pending);
  daemon.send(answer.substr(5, 11));
  CHECK(connection.advance() == State::pending);
  daemon.send(std::string("gglo\0\0\0\0\x05\0\0\0\0\0\0\0hello\0\0\0", 24));
  CHECK(connection.advance() == State::pending);
  daemon.send(answer.substr(16));
  CHECK(connection.advance() == State::ready);
  CHECK(connection.advance() == State::ready);
  daemon.hang_up();
  CHECK(connection.advance() == State::absent);
}

TEST_CASE("one that hangs up, talks nonsense or too much, or says nothing, is no help") {
  const TemporaryDirectory directory;
  FakeDaemon daemon(directory.path() / "socket");
  DaemonConnection connection(directory.path() / "socket");
  CHECK(connection.advance() == State::pending);
  daemon.accept();
  SUBCASE("hangs up") {
    daemon.hang_up();
    CHECK(connection.advance() == State::absent);
  }
  SUBCASE("too much") {
    daemon.send(std::string(10'000, 'x'));
    CHECK(connection.advance() == State::absent);
  }
  SUBCASE("nonsense, then nothing") {
    daemon.send("HTTP/1.1 400 Bad Request\r\n\r\n");
    CHECK(connection.advance() == State::pending);
    CHECK(nixbuild::test::eventually([&] { return connection.advance() == State::absent; }));
    std::this_thread::sleep_for(200ms);            // longer than after other failures
    CHECK(connection.advance() == State::absent);  // the pause is longer
  }
  SUBCASE("closed by us") {
    connection.close();
    CHECK(connection.state() == State::absent);
    CHECK(connection.advance() == State::pending);
  }
}
