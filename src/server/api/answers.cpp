#include "server/api/answers.hpp"

#include <utility>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "common/protocol/json.hpp"
#include "server/api/parameters.hpp"
#include "server/api/runner.hpp"
#include "server/async/offload.hpp"
#include "server/history/history.hpp"

namespace nixbuild::api {
namespace {

namespace asio = boost::asio;

constexpr const char* retry_after = "5";  // seconds

}  // namespace

http::Response error_response(unsigned status, std::string_view detail) {
  http::Response response =
      http::json_response(status, protocol::to_json(protocol::ErrorReply{std::string(detail)}));
  if (status == 503) response.headers.emplace_back("Retry-After", retry_after);
  if (status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

http::Response response_to(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const ParameterError& error) {
    return error_response(422, error.what());
  } catch (const RunnerError& error) {
    log::warn("{}", error.what());
    return error_response(503, error.what());
  } catch (const history::SqliteError& error) {
    log::warn("{}", error.what());
    return error_response(503, error.what());
  } catch (const history::HistoryError& error) {
    log::warn("{}", error.what());
    return error_response(503, error.what());
  } catch (const SystemError& error) {
    log::warn("{}", error.what());
    return error_response(503, error.what());
  }
}

asio::awaitable<http::Response> answer_from(asio::thread_pool& workers,
                                            std::function<http::Response()> work) {
  std::exception_ptr error;
  try {
    asio::awaitable<http::Response> reply =
        async::offload<http::Response>(workers, std::move(work));
    co_return co_await std::move(reply);
  } catch (...) {
    error = std::current_exception();
  }
  co_return response_to(error);
}

std::string_view host_without_port(std::string_view authority) {
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  return authority.substr(0, authority.rfind(':'));
}

}  // namespace nixbuild::api
