// What all uses of libcurl share: its functions, its handles, and its errors as exceptions. For
// this folder, and for code that drives libcurl itself.
//
// Loading libcurl and the thirty libraries that it needs takes longer than a short command takes to
// run. So the program is not linked with it, but loads it at the first request.
#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>
#include <string_view>

#include "common/net/http_client.hpp"

namespace nixbuild::net {

// clang-format off
#define NIXBUILD_CURL_FUNCTIONS(DO)                                                      \
  DO(easy_cleanup) DO(easy_getinfo) DO(easy_init) DO(easy_pause) DO(easy_perform)        \
  DO(easy_setopt) DO(easy_strerror) DO(getdate) DO(global_cleanup) DO(global_init)       \
  DO(multi_add_handle) DO(multi_cleanup) DO(multi_info_read) DO(multi_init)              \
  DO(multi_perform) DO(multi_poll) DO(multi_remove_handle) DO(multi_setopt)              \
  DO(multi_socket_action) DO(multi_strerror) DO(slist_append) DO(slist_free_all)         \
  DO(strnequal)
// clang-format on

// The functions of libcurl in use: `easy_init` is curl_easy_init.
struct Libcurl {
#define NIXBUILD_DECLARE(NAME) decltype(&::curl_##NAME) NAME = nullptr;
  NIXBUILD_CURL_FUNCTIONS(NIXBUILD_DECLARE)
#undef NIXBUILD_DECLARE
};

// libcurl, loaded and set up by the first call. Throws Error if that is not possible.
const Libcurl& libcurl();

struct EasyDeleter {
  void operator()(CURL* handle) const noexcept { libcurl().easy_cleanup(handle); }
};
struct MultiDeleter {
  void operator()(CURLM* handle) const noexcept { libcurl().multi_cleanup(handle); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const noexcept { libcurl().slist_free_all(list); }
};
using EasyHandle = std::unique_ptr<CURL, EasyDeleter>;
using MultiHandle = std::unique_ptr<CURLM, MultiDeleter>;
using HeaderList = std::unique_ptr<curl_slist, ListDeleter>;

// Creates a handle with all of `options` except the total timeout.
EasyHandle make_easy(const HttpOptions& options);

// Appends "NAME: VALUE". Throws UsageError if the value contains a line end.
void add_header(HeaderList& list, std::string_view name, std::string_view value);

// Throws UnreachableError or RefusedError for a transfer that ended with `code`.
[[noreturn]] void throw_transfer_error(CURLcode code, CURL* handle, const HttpOptions& options,
                                       std::string_view request);

}  // namespace nixbuild::net
