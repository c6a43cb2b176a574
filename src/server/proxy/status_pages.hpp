// What the proxy knows of itself: /health for programs, / for people.
#pragma once

#include <string>

#include "common/nix/store_path.hpp"
#include "server/proxy/disk_cache.hpp"
#include "server/proxy/narinfos.hpp"
#include "server/proxy/nars.hpp"
#include "server/proxy/upstreams.hpp"

namespace nixbuild::proxy {

struct StatusParts {
  const Upstreams& upstreams;
  const Narinfos& narinfos;
  const Nars& nars;
  const DiskCache& disk;
};

// JSON; nixbuild-serve-proxy(1) describes it.
std::string render_health(const StatusParts& parts, const nix::StoreDir& store_dir);

// A page that reloads itself.
std::string render_status_page(const StatusParts& parts);

}  // namespace nixbuild::proxy
