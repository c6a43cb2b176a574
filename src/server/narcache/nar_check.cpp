#include "server/narcache/nar_check.hpp"

#include <string_view>

namespace nixbuild::narcache {
namespace {

struct Preempted {};

}  // namespace

bool NarCheck::run(JobQueue::Slot&) noexcept {
  try {
    read_nar(input_, [&](std::string_view) {
      if (preempted_) throw Preempted();
    });
    ended_(*this, nullptr);
  } catch (const Preempted&) {
    return false;
  } catch (const std::exception& error) {
    ended_(*this, &error);
  }
  return true;
}

void NarCheck::abandon() noexcept {
  const Error error("not checked: the server is stopping");
  ended_(*this, &error);
}

}  // namespace nixbuild::narcache
