// What all uses of libcurl share: its set-up, its handles, its errors as ours. Private to this
// folder.
#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>
#include <string_view>

#include "common/net/http_client.hpp"

namespace nixbuild::net {

struct EasyDeleter {
  void operator()(CURL* handle) const noexcept { curl_easy_cleanup(handle); }
};
struct MultiDeleter {
  void operator()(CURLM* handle) const noexcept { curl_multi_cleanup(handle); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
};
using EasyHandle = std::unique_ptr<CURL, EasyDeleter>;
using MultiHandle = std::unique_ptr<CURLM, MultiDeleter>;
using HeaderList = std::unique_ptr<curl_slist, ListDeleter>;

// Sets libcurl up, once, and makes a handle with all that `options` say but the total timeout.
EasyHandle make_easy(const HttpOptions& options);

// Appends "NAME: VALUE". Throws UsageError where the value has a line end in it.
void add_header(HeaderList& list, std::string_view name, std::string_view value);

// Throws what a transfer that ended with `code` is: UnreachableError or RefusedError.
[[noreturn]] void throw_transfer_error(CURLcode code, CURL* handle, const HttpOptions& options,
                                       std::string_view request);

}  // namespace nixbuild::net
