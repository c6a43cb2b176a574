#include "server/narcache/nar_check.hpp"

#include <string_view>

namespace nixbuild::narcache {
namespace {

struct CheckPreempted {};

}  // namespace

bool NarCheck::run(JobQueue::Slot&) noexcept {
  try {
    read_nar(input_, [&](std::string_view) {
      if (preempted_) throw CheckPreempted();
    });
    ended_(*this, nullptr);
  } catch (const CheckPreempted&) {
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
