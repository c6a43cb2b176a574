// Notices that this machine may be in another network: its addresses have changed (rtnetlink), or
// its clock was set, as also happens when it wakes from suspend.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>

namespace nixbuild::proxy {

// Calls `changed` on the executor's thread, at most once a second, for as long as the executor
// exists. Throws SystemError.
void watch_network(const boost::asio::any_io_executor& executor, std::function<void()> changed);

}  // namespace nixbuild::proxy
