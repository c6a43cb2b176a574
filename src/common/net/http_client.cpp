#include "common/net/http_client.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <exception>
#include <utility>

#include "common/base/terminal.hpp"
#include "common/net/curl.hpp"

namespace nixbuild::net {
namespace {

// The state of a running transfer.
struct Transfer {
  CURL* handle = nullptr;
  std::size_t limit = 0;
  const HttpClient::Sink* sink = nullptr;
  HttpResponse response;
  std::exception_ptr failure;  // thrown by the sink; exceptions must not pass through libcurl
};

std::size_t take_body(char* data, std::size_t, std::size_t size, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  try {
    if (transfer.sink != nullptr) {
      long status = 0;
      libcurl().easy_getinfo(transfer.handle, CURLINFO_RESPONSE_CODE, &status);
      if (status == 200) {
        (*transfer.sink)(std::string_view(data, size));
        return size;
      }
    }
    if (size > transfer.limit - transfer.response.body.size()) return 0;
    transfer.response.body.append(data, size);
    return size;
  } catch (...) {
    transfer.failure = std::current_exception();
    return 0;
  }
}

// Called with each line of the head, including its line end.
std::size_t take_header(char* data, std::size_t, std::size_t size, void* context) {
  constexpr std::string_view name = "date:";
  std::string_view line(data, size);
  const bool is_date = line.size() > name.size() &&
                       std::equal(name.begin(), name.end(), line.begin(), [](char wanted, char c) {
                         return wanted == (c >= 'A' && c <= 'Z' ? c + 32 : c);
                       });
  if (is_date) {
    line.remove_prefix(name.size());
    line = line.substr(0, line.find_last_not_of(" \r\n") + 1);
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    try {
      static_cast<Transfer*>(context)->response.date = line;
    } catch (...) {
      return 0;
    }
  }
  return size;
}

// Whether the server took the connection and closed it before libcurl found it connected, as one
// under load or one that restarts may.
bool closed_while_connecting(CURLcode code, CURL* handle) {
  if (code != CURLE_COULDNT_CONNECT) return false;
  long error = 0;
  libcurl().easy_getinfo(handle, CURLINFO_OS_ERRNO, &error);
  return error == EPIPE || error == ECONNRESET;
}

// The title of a web page, or the beginning of a text, to help a person recognise what answered.
std::string excerpt(const HttpResponse& response) {
  constexpr std::size_t most_columns = 80;
  std::string_view text = response.body;
  if (const std::size_t title = text.find("<title>"); title != std::string_view::npos) {
    text.remove_prefix(title + 7);
    text = text.substr(0, text.find('<'));
  }
  std::string shown = terminal::printable(text.substr(0, 4 * most_columns));
  const std::size_t first = shown.find_first_not_of(" \t");
  shown.erase(0, first == std::string::npos ? shown.size() : first);
  while (!shown.empty() && (shown.back() == ' ' || shown.back() == '\t'))
    shown.pop_back();
  return terminal::fit(shown, most_columns);
}

bool is_web_page(const HttpResponse& response) {
  return response.content_type.starts_with("text/html") || response.body.starts_with("<!DOCTYPE") ||
         response.body.starts_with("<!doctype") || response.body.starts_with("<html");
}

}  // namespace

struct HttpClient::Handle {
  EasyHandle easy;

  HttpResponse perform(const HttpOptions& options, std::string_view method, std::string_view path,
                       HeaderList headers, const Sink* sink) {
    CURL* curl = easy.get();
    Transfer transfer{curl, options.body_limit, sink, {}, {}};
    if (!options.token.empty()) add_header(headers, "Authorization", "Bearer " + options.token);
    const std::string url = options.server.base_url() + std::string(path);
    libcurl().easy_setopt(curl, CURLOPT_URL, url.c_str());
    libcurl().easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
    libcurl().easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    libcurl().easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
    libcurl().easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    libcurl().easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
    const bool is_download = sink != nullptr;
    const auto total = static_cast<long>(options.total_timeout.count());
    libcurl().easy_setopt(curl, CURLOPT_TIMEOUT_MS, is_download ? 0L : total);
    libcurl().easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, is_download ? 1L : 0L);
    libcurl().easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, is_download ? 30L : 0L);

    CURLcode code = libcurl().easy_perform(curl);
    // Nothing has been sent yet.
    if (closed_while_connecting(code, curl)) code = libcurl().easy_perform(curl);
    if (transfer.failure) std::rethrow_exception(transfer.failure);
    if (code != CURLE_OK) {
      throw_transfer_error(code, curl, options, fmt::format("{} {}", method, path));
    }
    long status = 0;
    libcurl().easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    transfer.response.status = static_cast<unsigned>(status);
    const char* text = nullptr;
    libcurl().easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &text);
    if (text != nullptr) transfer.response.content_type = text;
    text = nullptr;
    libcurl().easy_getinfo(curl, CURLINFO_REDIRECT_URL, &text);
    if (text != nullptr) transfer.response.location = text;
    return std::move(transfer.response);
  }
};

HttpClient::HttpClient(HttpOptions options)
    : options_(std::move(options)), handle_(std::make_unique<Handle>()) {
  handle_->easy = make_easy(options_);
}
HttpClient::~HttpClient() = default;
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;

HttpResponse HttpClient::get(std::string_view path) {
  libcurl().easy_setopt(handle_->easy.get(), CURLOPT_HTTPGET, 1L);
  return handle_->perform(options_, "GET", path, {}, nullptr);
}

HttpResponse HttpClient::post(std::string_view path, std::string_view body,
                              const std::vector<HttpHeader>& headers) {
  CURL* curl = handle_->easy.get();
  libcurl().easy_setopt(curl, CURLOPT_POST, 1L);
  libcurl().easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  libcurl().easy_setopt(curl, CURLOPT_POSTFIELDS, body.empty() ? "" : body.data());
  HeaderList list;
  const bool has_type = std::any_of(headers.begin(), headers.end(), [](const HttpHeader& header) {
    return header.name == "Content-Type";
  });
  // Otherwise libcurl would label the body as a form.
  if (!has_type) add_header(list, "Content-Type", "application/json");
  for (const HttpHeader& header : headers)
    add_header(list, header.name, header.value);
  return handle_->perform(options_, "POST", path, std::move(list), nullptr);
}

HttpResponse HttpClient::download(std::string_view path, const Sink& sink) {
  libcurl().easy_setopt(handle_->easy.get(), CURLOPT_HTTPGET, 1L);
  return handle_->perform(options_, "GET", path, {}, &sink);
}

void throw_refused(const HttpOptions& options, std::string_view request,
                   const HttpResponse& response) {
  const std::string where = options.server.host_port();
  if (const auto detail = options.error_detail ? options.error_detail(response) : std::nullopt) {
    throw RefusedError(fmt::format("{}: {} ({} {})", where, terminal::printable(*detail), request,
                                   response.status),
                       response.status);
  }
  const std::string check =
      fmt::format("check that port {} is {}'s", options.server.port, options.service);
  if (response.status >= 300 && response.status < 400) {
    throw RefusedError(
        fmt::format("{}: {} is redirected ({}) to {}; name the server itself, {}", where, request,
                    response.status, terminal::printable(response.location), check),
        response.status);
  }
  if (is_web_page(response)) {
    throw RefusedError(
        fmt::format("{}: {} was answered with a web page ({}, \"{}\"), not by the API; {}", where,
                    request, response.status, excerpt(response), check),
        response.status);
  }
  const std::string shown = excerpt(response);
  throw RefusedError(
      fmt::format("{}: {} was answered with {}{}, not as the API does; {}", where, request,
                  response.status, shown.empty() ? "" : fmt::format(" \"{}\"", shown), check),
      response.status);
}

std::optional<std::chrono::sys_seconds> parse_http_date(const std::string& text) {
  const std::time_t time = libcurl().getdate(text.c_str(), nullptr);
  if (time == -1) return std::nullopt;
  return std::chrono::sys_seconds(std::chrono::seconds(time));
}

}  // namespace nixbuild::net
