#include "common/net/curl.hpp"

#include <fmt/format.h>
#ifdef NIXBUILD_LIBCURL_DIR
#include <dlfcn.h>
#endif

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>

#include "common/base/terminal.hpp"
#include "common/base/version.hpp"

namespace nixbuild::net {
namespace {

#ifdef NIXBUILD_LIBCURL_DIR
// Some distributions name the library after the TLS library that it uses.
constexpr std::array library_names = {NIXBUILD_LIBCURL_DIR "libcurl.so.4",
                                      NIXBUILD_LIBCURL_DIR "libcurl-gnutls.so.4"};

void* open_library() {
  std::string reason;
  for (const char* name : library_names) {
    if (void* library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
    if (reason.empty()) reason = ::dlerror();
  }
  throw Error(fmt::format("cannot load libcurl: {}; install it (Debian: libcurl4)", reason));
}

template <class Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  if (function == nullptr) throw Error(fmt::format("libcurl has no function {}", name));
}

Libcurl find_functions() {
  void* const library = open_library();
  Libcurl found;
#define NIXBUILD_FIND(NAME) find(library, "curl_" #NAME, found.NAME);
  NIXBUILD_CURL_FUNCTIONS(NIXBUILD_FIND)
#undef NIXBUILD_FIND
  return found;
}
#else
Libcurl find_functions() {
  Libcurl found;
#define NIXBUILD_FIND(NAME) found.NAME = &::curl_##NAME;
  NIXBUILD_CURL_FUNCTIONS(NIXBUILD_FIND)
#undef NIXBUILD_FIND
  return found;
}
#endif

// The proxy that the environment names for this server; empty if there is none. Only for messages:
// libcurl reads the environment itself.
std::string proxy_of(const ServerAddress& server) {
  if (server.is_local()) return {};
  const bool is_https = server.scheme == "https";
  for (const char* name :
       {is_https ? "https_proxy" : "http_proxy", is_https ? "HTTPS_PROXY" : "all_proxy",
        is_https ? "all_proxy" : "ALL_PROXY", "ALL_PROXY"}) {
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') {
      return fmt::format("{}={}", name, terminal::printable(value));
    }
  }
  return {};
}

constexpr std::string_view how_to_name_another =
    "another server is named by --server, NIXBUILD_SERVER or 'server' of [client] in "
    "~/.config/nixbuild/config.toml";

using Reason = UnreachableError::Reason;

double in_seconds(std::chrono::milliseconds time) {
  return static_cast<double>(time.count()) / 1000;
}

[[noreturn]] void unreachable(const HttpOptions& options, std::string_view why,
                              std::string_view advice, Reason reason = Reason::other) {
  std::string message =
      fmt::format("cannot reach {}: {}\n  {}", options.server.host_port(), why, advice);
  if (const std::string proxy = proxy_of(options.server); !proxy.empty()) {
    message +=
        fmt::format("\n  the environment sends this through a proxy ({}); no_proxy={} would not",
                    proxy, options.server.host);
  }
  throw UnreachableError(message, reason);
}

[[noreturn]] void cannot_connect(CURL* handle, const HttpOptions& options) {
  const ServerAddress& server = options.server;
  long error_number = 0;
  libcurl().easy_getinfo(handle, CURLINFO_OS_ERRNO, &error_number);
  const auto error = static_cast<int>(error_number);
  if (!server.unix_socket.empty()) {
    // curl does not always report the errno of a unix socket.
    unreachable(
        options, error != 0 ? std::strerror(error) : "cannot connect to this socket",
        "check that the socket is there, that its server runs and that you may write to it");
  }
  switch (error) {
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
      unreachable(options, std::strerror(error),
                  "check that this machine is online and that Tailscale is up (tailscale status)",
                  Reason::host_silent);
    default:
      unreachable(
          options,
          error != 0 && error != ECONNREFUSED ? std::strerror(error) : "connection refused",
          fmt::format(
              "the machine answers, but nothing listens on port {}: check that {} runs "
              "there (systemctl status {}) and listens on that address{}",
              server.port, options.service, options.unit,
              server.port == 80 ? fmt::format("; its usual port is {}", options.usual_port) : ""));
  }
}

[[noreturn]] void timed_out(CURL* handle, const HttpOptions& options, std::string_view request) {
  curl_off_t resolved = 0;
  curl_off_t connected = 0;
  libcurl().easy_getinfo(handle, CURLINFO_NAMELOOKUP_TIME_T, &resolved);
  libcurl().easy_getinfo(handle, CURLINFO_CONNECT_TIME_T, &connected);
  const ServerAddress& server = options.server;
  if (resolved == 0 && connected == 0) {
    unreachable(options,
                fmt::format("the name '{}' was not resolved within {} s", server.host,
                            in_seconds(options.connect_timeout)),
                "check that this machine's name server answers and that Tailscale is up (tailscale "
                "status)",
                Reason::host_silent);
  }
  if (connected == 0) {
    unreachable(
        options,
        fmt::format("no answer to a connection within {} s", in_seconds(options.connect_timeout)),
        fmt::format("check that the machine is on (tailscale ping {}) and that no firewall "
                    "drops packets to port {}",
                    server.host, server.port),
        Reason::host_silent);
  }
  unreachable(options,
              fmt::format("it took the connection but did not answer {} within {} s", request,
                          in_seconds(options.total_timeout)),
              fmt::format("check the server's load and log (journalctl -u {})", options.unit),
              Reason::no_answer);
}

}  // namespace

const Libcurl& libcurl() {
  struct Library {
    Library() : functions(find_functions()) {
      if (functions.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        throw Error("libcurl cannot be set up");
    }
    ~Library() { functions.global_cleanup(); }
    Library(const Library&) = delete;
    Library& operator=(const Library&) = delete;
    Libcurl functions;
  };
  static const Library library;
  return library.functions;
}

EasyHandle make_easy(const HttpOptions& options) {
  EasyHandle handle(libcurl().easy_init());
  if (!handle) throw std::bad_alloc();
  CURL* curl = handle.get();
  libcurl().easy_setopt(curl, CURLOPT_USERAGENT, "nixbuild/" NIXBUILD_VERSION);
  libcurl().easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                        static_cast<long>(options.connect_timeout.count()));
  libcurl().easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
  // Don't wait at the end for a thread that still resolves a name.
  libcurl().easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
#endif
  if (options.server.is_local()) libcurl().easy_setopt(curl, CURLOPT_PROXY, "");
  if (!options.server.unix_socket.empty()) {
    libcurl().easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, options.server.unix_socket.c_str());
  }
  return handle;
}

void add_header(HeaderList& list, std::string_view name, std::string_view value) {
  if (value.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
    throw UsageError(fmt::format("the value of the header {} has a line end in it", name));
  }
  curl_slist* longer =
      libcurl().slist_append(list.get(), fmt::format("{}: {}", name, value).c_str());
  if (longer == nullptr) throw std::bad_alloc();
  (void)list.release();
  list.reset(longer);
}

void throw_transfer_error(CURLcode code, CURL* handle, const HttpOptions& options,
                          std::string_view request) {
  const std::string where = options.server.host_port();
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
      unreachable(options, fmt::format("the name '{}' does not resolve", options.server.host),
                  fmt::format("check the name, and that Tailscale is up (tailscale status); {}",
                              how_to_name_another),
                  Reason::unresolved);
    case CURLE_COULDNT_RESOLVE_PROXY:
      unreachable(options, "the name of the proxy does not resolve", "check the proxy");
    case CURLE_COULDNT_CONNECT:
      cannot_connect(handle, options);
    case CURLE_OPERATION_TIMEDOUT:
      timed_out(handle, options, request);
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
      throw RefusedError(
          fmt::format("{}: the connection was closed before {} was answered; check that port {} is "
                      "{}'s, and its log (journalctl -u {})",
                      where, request, options.server.port, options.service, options.unit));
    case CURLE_PARTIAL_FILE:
      throw RefusedError(fmt::format("{}: the answer to {} was cut off", where, request));
    case CURLE_WRITE_ERROR:
      throw RefusedError(fmt::format("{}: the answer to {} is longer than {} bytes", where, request,
                                     options.body_limit));
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
      throw RefusedError(fmt::format("{}: TLS failed: {}; {} itself speaks http://, not https://",
                                     where, libcurl().easy_strerror(code), options.service));
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
      throw RefusedError(
          fmt::format("{}: what answers {} does not speak HTTP; check that port {} is "
                      "{}'s",
                      where, request, options.server.port, options.service));
    default:
      throw RefusedError(fmt::format("{}: {}: {}", where, request, libcurl().easy_strerror(code)));
  }
}

}  // namespace nixbuild::net
