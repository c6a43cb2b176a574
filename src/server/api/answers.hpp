// What all routes answer alike: errors, and work that is done away from the serving threads.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <exception>
#include <functional>
#include <string_view>

#include "server/http/response.hpp"

namespace nixbuild::api {

// {"detail": …}; 503 says when to try again, 401 what is asked for.
http::Response error_response(unsigned status, std::string_view detail);

// What a handler threw, as a response. What is not the client's, systemd's or the disk's fault is
// thrown on, and is answered 500.
http::Response response_to(const std::exception_ptr& exception);

// Runs `work` on the pool; what it throws becomes a response.
boost::asio::awaitable<http::Response> answer_from(boost::asio::thread_pool& workers,
                                                   std::function<http::Response()> work);

// The host of "host:port", of an IPv6 address with its brackets.
std::string_view host_without_port(std::string_view authority);

}  // namespace nixbuild::api
