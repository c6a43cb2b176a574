// An exception on a serving thread ends neither the thread nor its events.
#include "server/http/worker.hpp"

#include <doctest/doctest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <thread>

#include "support.hpp"

namespace nixbuild::http::test {
namespace {

// An event whose handler counts its calls and then throws.
class Thrower final : public EpollTarget {
 public:
  explicit Thrower(bool std_exception) : std_exception_(std_exception) {}

  void on_event(std::uint32_t) override {
    std::uint64_t value = 0;
    CHECK(::read(fd_.get(), &value, sizeof value) == sizeof value);
    ++count_;
    if (std_exception_) throw std::runtime_error("an event's work has failed");
    throw 42;
  }

  void happen() const {
    const std::uint64_t one = 1;
    CHECK(::write(fd_.get(), &one, sizeof one) == sizeof one);
  }

  int fd() const { return fd_.get(); }
  int count() const { return count_; }

 private:
  const bool std_exception_;
  UniqueFd fd_{::eventfd(0, EFD_CLOEXEC)};
  std::atomic<int> count_{0};
};

}  // namespace

TEST_CASE("worker: events that throw, and the others") {
  for (const bool std_exception : {true, false}) {
    CAPTURE(std_exception);
    ServerShared shared(TestServer::two_threads(), nullptr);
    Worker worker(shared);
    Thrower first(std_exception);
    Thrower second(std_exception);
    worker.watch(first.fd(), first);
    worker.watch(second.fd(), second);
    std::thread thread([&] { worker.run(); });
    for (int round = 1; round <= 3; ++round) {
      first.happen();
      second.happen();
      CHECK(eventually([&] { return first.count() == round && second.count() == round; }));
    }
    worker.stop();
    thread.join();
  }
}

TEST_CASE("worker: posted work that throws") {
  ServerShared shared(TestServer::two_threads(), nullptr);
  Worker worker(shared);
  Thrower event(true);
  worker.watch(event.fd(), event);
  std::thread thread([&] { worker.run(); });
  worker.post([] { throw std::runtime_error("posted work has failed"); });
  worker.post([] { throw 42; });
  event.happen();
  CHECK(eventually([&] { return event.count() == 1; }));
  worker.stop();
  thread.join();
}

TEST_CASE("worker: a listener that cannot be watched keeps no other from being") {
  ServerShared shared(TestServer::two_threads(), nullptr);
  Worker worker(shared);
  CHECK_NOTHROW(worker.add_listener({std::make_shared<const UniqueFd>(), nullptr, 1}));
  Thrower event(true);
  worker.watch(event.fd(), event);
  std::thread thread([&] { worker.run(); });
  event.happen();
  CHECK(eventually([&] { return event.count() == 1; }));
  worker.stop();
  thread.join();
}

TEST_CASE("worker: an error's text that cannot be made") {
  for (const bool std_exception : {true, false}) {
    CAPTURE(std_exception);
    TestServer server([std_exception](Router& router) {
      router.get("/", [](const Request&, PathParameters) { return text_response(200, "here\n"); });
      router.set_error_response([std_exception](unsigned, std::string_view) -> Response {
        if (std_exception) throw std::runtime_error("no text");
        throw 42;
      });
    });
    Client client(server.port());
    CHECK(client.get("/nothing").status == 404);
    CHECK(client.get("/").status == 200);
  }
}

}  // namespace nixbuild::http::test
