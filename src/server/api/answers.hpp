// Common to all routes: error responses, and running work off the serving threads.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <exception>
#include <functional>
#include <string_view>

#include "server/http/response.hpp"

namespace nixbuild::api {

// {"detail": …}; 503 says when to retry, 401 which authentication is required.
http::Response error_response(unsigned status, std::string_view detail);

// Converts a handler's exception to a response. Rethrows exceptions not caused by the client,
// systemd or the disk, which are answered 500.
http::Response response_to(const std::exception_ptr& exception);

// Runs `work` on the pool; exceptions become responses.
boost::asio::awaitable<http::Response> answer_from(boost::asio::thread_pool& workers,
                                                   std::function<http::Response()> work);

// The host of "host:port"; keeps the brackets of an IPv6 address.
std::string_view host_without_port(std::string_view authority);

}  // namespace nixbuild::api
