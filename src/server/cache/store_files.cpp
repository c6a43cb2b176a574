#include "server/cache/store_files.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <functional>
#include <memory>
#include <utility>

#include "common/base/error.hpp"
#include "server/async/offload.hpp"
#include "server/cache/responses.hpp"
#include "server/http/html.hpp"

namespace nixbuild::cache {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;

constexpr int most_links = 40;               // as in the kernel
constexpr std::size_t most_listed = 10'000;  // entries of a directory's page

struct Type {
  std::string_view extension;
  std::string_view content_type;
};
constexpr Type types[] = {
    {"css", "text/css; charset=utf-8"},
    {"gif", "image/gif"},
    {"htm", "text/html; charset=utf-8"},
    {"html", "text/html; charset=utf-8"},
    {"jpeg", "image/jpeg"},
    {"jpg", "image/jpeg"},
    {"js", "text/javascript; charset=utf-8"},
    {"json", "application/json"},
    {"pdf", "application/pdf"},
    {"png", "image/png"},
    {"svg", "image/svg+xml"},
    {"webp", "image/webp"},
    {"xml", "application/xml"},
};

// By the name's extension, otherwise by whether the beginning looks like text.
std::string_view content_type_of(std::string_view name, int fd) {
  const std::size_t dot = name.rfind('.');
  if (dot != std::string_view::npos) {
    for (const Type& type : types) {
      if (name.substr(dot + 1) == type.extension) return type.content_type;
    }
  }
  std::array<char, 512> beginning;
  const ssize_t size = ::pread(fd, beginning.data(), beginning.size(), 0);
  const std::string_view text(beginning.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  return text.find('\0') == std::string_view::npos ? "text/plain; charset=utf-8"
                                                   : "application/octet-stream";
}

bool is_out_of_resources(int error_number) {
  return error_number == EMFILE || error_number == ENFILE || error_number == ENOMEM;
}

// Resolves names one by one, each with O_NOFOLLOW relative to its parent directory. It only looks
// into what it has opened itself, so concurrent changes cannot make it leave the root.
class Resolver {
 public:
  Resolver(const fs::path& root, std::string_view virtual_root)
      : root_(root), virtual_root_(virtual_root) {}

  std::optional<StoreFile> resolve(std::string_view relative) {
    std::optional<StoreFile> found = open(AT_FDCWD, root_.c_str());
    if (!found) return std::nullopt;
    push_front(relative);
    while (!names_.empty()) {
      if (found) {
        if (!found->is_directory) return std::nullopt;
        directories_.push_back(std::move(found->fd));
        found.reset();
      }
      const std::string name = std::move(names_.back());
      names_.pop_back();
      if (name == "..") {
        if (directories_.size() == 1) return std::nullopt;
        directories_.pop_back();
        continue;
      }
      const int directory = directories_.back().get();
      std::array<char, PATH_MAX> target;
      const ssize_t length = ::readlinkat(directory, name.c_str(), target.data(), target.size());
      if (length >= 0) {
        if (!follow(std::string_view(target.data(), static_cast<std::size_t>(length)))) {
          return std::nullopt;
        }
        continue;
      }
      found = open(directory, name.c_str());
      if (!found) return std::nullopt;
    }
    if (found) return found;
    // The path ended with ".." or a link to one of its parent directories.
    StoreFile last;
    last.fd = std::move(directories_.back());
    last.is_directory = true;
    return last;
  }

 private:
  // Adds the names of a path; the vector is in reverse order.
  void push_front(std::string_view path) {
    std::vector<std::string> names;
    while (!path.empty()) {
      const std::size_t slash = path.find('/');
      const std::string_view name = path.substr(0, slash);
      if (!name.empty() && name != ".") names.emplace_back(name);
      path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    }
    names_.insert(names_.end(), std::make_move_iterator(names.rbegin()),
                  std::make_move_iterator(names.rend()));
  }

  bool follow(std::string_view target) {
    if (++links_ > most_links) return false;
    if (target.starts_with('/')) {
      if (!target.starts_with(virtual_root_)) return false;
      target.remove_prefix(virtual_root_.size());
      if (!target.empty() && target.front() != '/') return false;
      directories_.resize(1);
    }
    push_front(target);
    return true;
  }

  static std::optional<StoreFile> open(int directory, const char* name) {
    StoreFile file;
    file.fd.reset(::openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file.fd) {
      if (is_out_of_resources(errno)) throw SystemError(errno, fmt::format("opening {}", name));
      return std::nullopt;
    }
    struct stat status {};
    if (::fstat(file.fd.get(), &status) != 0) return std::nullopt;
    file.is_directory = S_ISDIR(status.st_mode);
    if (!file.is_directory && !S_ISREG(status.st_mode)) return std::nullopt;
    file.size = static_cast<std::uint64_t>(status.st_size);
    return file;
  }

  const fs::path& root_;
  const std::string_view virtual_root_;
  std::vector<UniqueFd> directories_;  // from the root to the current directory
  std::vector<std::string> names_;
  int links_ = 0;
};

std::string percent_encoded(std::string_view name) {
  std::string out;
  for (const char c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~").find(c) != std::string_view::npos;
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

struct ListedEntry {
  std::string name;
  bool is_directory = false;
};

std::vector<ListedEntry> entries_of(UniqueFd directory) {
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(directory.get()), &::closedir);
  if (!stream) throw SystemError(errno, "reading a directory of the store");
  directory.release();
  std::vector<ListedEntry> entries;
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    entries.push_back({std::string(name), entry->d_type == DT_DIR});
  }
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return entries;
}

// Lists the names as links, which are absolute because the URL may or may not end with a slash.
std::string render_directory(const nix::StorePath& path, std::string_view relative,
                             const std::vector<ListedEntry>& entries) {
  std::string base = fmt::format("/serve/{}", path.hash_part());
  std::string title = path.base_name();
  std::string_view rest = relative;
  while (!rest.empty()) {
    const std::size_t slash = rest.find('/');
    const std::string_view name = rest.substr(0, slash);
    if (!name.empty()) {
      base += '/' + percent_encoded(name);
      title += fmt::format("/{}", name);
    }
    rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
  }
  std::string page = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head><meta "
      "charset=\"utf-8\"><title>{0}</title></head>\n"
      "<body>\n<h1>{0}</h1>\n<ul>\n",
      http::escape_html(title));
  for (std::size_t i = 0; i < std::min(entries.size(), most_listed); ++i) {
    const ListedEntry& entry = entries[i];
    const std::string_view slash = entry.is_directory ? "/" : "";
    page += fmt::format("<li><a href=\"{}/{}{}\">{}{}</a></li>\n", base,
                        percent_encoded(entry.name), slash, http::escape_html(entry.name), slash);
  }
  page += "</ul>\n";
  if (entries.size() > most_listed) {
    page += fmt::format("<p>{} more entries</p>\n", entries.size() - most_listed);
  }
  return page + "</body>\n</html>\n";
}

// Repositories provide these files, so none may run scripts, in the cache's origin or any other.
void confine(http::Response& response) {
  response.headers.emplace_back("Content-Security-Policy", "sandbox; default-src 'none'");
}

}  // namespace

std::optional<StoreFile> open_below(const fs::path& root, std::string_view virtual_root,
                                    std::string_view relative) {
  return Resolver(root, virtual_root).resolve(relative);
}

http::Reply StoreFiles::handle(std::string_view hash_part, std::string_view relative) {
  if (!nix::is_hash_part(hash_part)) return not_found("no such path\n");
  return answer(std::string(hash_part), std::string(relative));
}

asio::awaitable<http::Response> StoreFiles::answer(std::string hash_part, std::string relative) {
  std::optional<nix::PathInfo> info;
  try {
    asio::awaitable<std::optional<nix::PathInfo>> asking = store_.find_path(std::move(hash_part));
    info = co_await std::move(asking);
  } catch (const store::StoreUnavailable&) {
    co_return store_unavailable();
  }
  if (!info || narinfos_.skipped(*info)) co_return not_found("no such path\n");
  std::function<http::Response()> work = [this, info = *info, relative] {
    return open(info, relative);
  };
  asio::awaitable<http::Response> opening =
      async::offload<http::Response>(workers_, std::move(work));
  http::Response response = co_await std::move(opening);
  co_return response;
}

http::Response StoreFiles::open(const nix::PathInfo& info, const std::string& relative) const {
  std::optional<StoreFile> file = open_below(store_.layout().real_path(info.path),
                                             store_.layout().store_dir.print(info.path), relative);
  if (!file) return not_found("no such file\n");
  http::Response response;
  response.cache_control = "public, max-age=300";
  response.etag =
      fmt::format("\"{:.26}\"", nix::sha256(info.nar_hash.base32() + '/' + relative).base32());
  confine(response);
  if (file->is_directory) {
    response.content_type = "text/html; charset=utf-8";
    response.body = render_directory(info.path, relative, entries_of(std::move(file->fd)));
    return response;
  }
  const std::string_view name =
      std::string_view(relative).substr(relative.rfind('/') + 1);  // npos + 1 is 0
  response.content_type = content_type_of(name, file->fd.get());
  response.accept_ranges = true;
  response.body = http::FileBody{std::make_shared<const UniqueFd>(std::move(file->fd)), file->size};
  return response;
}

}  // namespace nixbuild::cache
