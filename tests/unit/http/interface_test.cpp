// Addresses of an interface that comes and goes, in the test's own network namespace.
#include <doctest/doctest.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <exception>

#include "../support/skip.hpp"
#include "common/base/error.hpp"
#include "support.hpp"

using namespace nixbuild;
using namespace nixbuild::http;
using namespace nixbuild::http::test;

namespace {

bool run(const std::string& command) {
  return std::system(command.c_str()) == 0;
}

// A network interface with a carrier, so that duplicate detection of IPv6 addresses works as on a
// real one; a dummy if the kernel has no other.
bool add_interface(const std::string& name) {
  return run("ip link add " + name + " type veth peer name peer-" + name +
             " 2>/dev/null && ip link set peer-" + name + " up && ip link set " + name + " up") ||
         run("ip link add " + name + " type dummy && ip link set " + name + " up");
}

// Runs `test` in a thread of its own, which can then leave the network namespace.
void in_thread(void (*test)()) {
  std::exception_ptr failure;
  std::thread([&] {
    try {
      test();
    } catch (...) {
      failure = std::current_exception();
    }
  }).join();
  if (failure) std::rethrow_exception(failure);
}

// Gives the calling thread, and all that it starts, its own network; returns whether that worked.
bool enter_network_namespace() {
  return ::unshare(CLONE_NEWNET) == 0 && run("ip link set lo up 2>/dev/null");
}

bool has(const std::vector<std::string>& all, const std::string& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

void follow_an_interface() {
  if (!enter_network_namespace()) {
    nixbuild::test::skip("no network namespace, or no ip(8)");
    return;
  }
  Server server(TestServer::two_threads(), hello_router());
  server.listen({net::TcpAddress{"127.0.0.1", 5000}, nullptr});
  server.listen({net::parse_listen_address("tailscale:5000", "nbtest0"), nullptr});
  CHECK(server.addresses() == std::vector<std::string>{"http://127.0.0.1:5000"});
  const Running running(server);
  const auto listens = [&](const std::string& url) {
    return eventually([&] { return has(server.addresses(), url); });
  };
  const auto dropped = [&](const std::string& url) {
    return eventually([&] { return !has(server.addresses(), url); });
  };
  const auto answers = [](const std::string& url) {
    return run("curl -sf --max-time 5 '" + url + "/hello' >/dev/null");
  };
  CHECK(answers("http://127.0.0.1:5000"));

  // Addresses outside of Tailscale's ranges, or on another interface, are not served.
  REQUIRE(add_interface("nbtest0"));
  REQUIRE(run("ip address add 192.0.2.1/24 dev nbtest0"));
  REQUIRE(add_interface("nbtest1"));
  REQUIRE(run("ip address add 100.64.0.9/10 dev nbtest1"));
  REQUIRE(run("ip address add 100.64.0.1/32 dev nbtest0"));
  CHECK(listens("http://100.64.0.1:5000"));
  CHECK(answers("http://100.64.0.1:5000"));
  // Each socket accepts packets of one interface only: other networks cannot connect by sending to
  // the address.
  CHECK(run("ss -Hltn src 100.64.0.1 | grep -q '100.64.0.1%nbtest0:5000'"));
  CHECK_FALSE(run("ss -Hltn src 100.64.0.1 | grep -q '100.64.0.1:5000'"));
  CHECK_FALSE(answers("http://192.0.2.1:5000"));
  CHECK_FALSE(answers("http://100.64.0.9:5000"));

  // IPv6 addresses are tested for duplicates before they can be used.
  if (run("ip address add fd7a:115c:a1e0::1/64 dev nbtest0 2>/dev/null")) {
    CHECK(listens("http://[fd7a:115c:a1e0::1]:5000"));
    CHECK(eventually([&] { return answers("http://[fd7a:115c:a1e0::1]:5000"); }));
    CHECK(server.addresses().size() == 3);
  } else {
    nixbuild::test::skip("no IPv6 here");
  }

  REQUIRE(run("ip address del 100.64.0.1/32 dev nbtest0"));
  CHECK(dropped("http://100.64.0.1:5000"));
  REQUIRE(run("ip address add 100.64.0.2/32 dev nbtest0"));
  CHECK(listens("http://100.64.0.2:5000"));
  REQUIRE(run("ip link del nbtest0"));
  CHECK(dropped("http://100.64.0.2:5000"));
  CHECK(dropped("http://[fd7a:115c:a1e0::1]:5000"));
  REQUIRE(add_interface("nbtest0"));
  REQUIRE(run("ip address add 100.64.0.1/32 dev nbtest0"));
  CHECK(listens("http://100.64.0.1:5000"));
  CHECK(answers("http://100.64.0.1:5000"));

  // An interface may get the name later.
  REQUIRE(run("ip link del nbtest0"));
  CHECK(dropped("http://100.64.0.1:5000"));
  REQUIRE(
      run("ip link set nbtest1 down && ip link set nbtest1 name nbtest0 && "
          "ip link set nbtest0 up"));
  CHECK(listens("http://100.64.0.9:5000"));

  // More messages than the socket's buffer holds.
  REQUIRE(
      run("for i in $(seq 1 120); do echo address add 10.9.0.$i/32 dev nbtest0; "
          "echo address del 10.9.0.$i/32 dev nbtest0; done | ip -batch -"));
  REQUIRE(run("ip address add 100.64.0.77/32 dev nbtest0"));
  CHECK(listens("http://100.64.0.77:5000"));
  CHECK(answers("http://100.64.0.77:5000"));
}

void refuse_a_taken_port() {
  if (!enter_network_namespace()) {
    nixbuild::test::skip("no network namespace, or no ip(8)");
    return;
  }
  REQUIRE(add_interface("nbtest0"));
  REQUIRE(run("ip address add 100.64.0.1/32 dev nbtest0"));
  const Listener on_interface{net::parse_listen_address("tailscale:5000", "nbtest0"), nullptr};
  auto first = std::make_unique<Server>(TestServer::two_threads(), hello_router());
  first->listen(on_interface);
  CHECK(first->addresses() == std::vector<std::string>{"http://100.64.0.1:5000"});
  Server second(TestServer::two_threads(), hello_router());
  std::string message;
  try {
    second.listen(on_interface);
  } catch (const Error& error) {
    message = error.what();
  }
  CHECK(message.find("100.64.0.1:5000") != std::string::npos);
}

}  // namespace

TEST_CASE("an interface's addresses are served as they come and go") {
  in_thread(follow_an_interface);
}

TEST_CASE("a taken port on an interface is an error at the start") {
  in_thread(refuse_a_taken_port);
}
