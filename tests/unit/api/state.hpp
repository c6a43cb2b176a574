// A state directory with a history, as run-build and serve-api share it.
#pragma once

#include <string>
#include <string_view>

#include "../support/temporary_directory.hpp"
#include "common/base/files.hpp"
#include "common/base/time.hpp"
#include "server/history/history.hpp"
#include "server/history/state_layout.hpp"

namespace nixbuild::test {

struct State {
  State() : layout(directory.path() / "state"), history((layout.create(), layout.history())) {}

  std::int64_t queue(const std::string& repository = "demo") {
    return history.insert_queued({repository, "ann", "100.64.0.2"}).id;
  }
  void write_log(std::int64_t build, std::string_view text) const {
    std::filesystem::create_directories(layout.logs("demo"));
    write_file_atomic(layout.log("demo", build), text, 0640);
  }
  std::int64_t build_to_the_end(std::string_view log = "one\ntwo\n") {
    const std::int64_t id = queue();
    history.set_running(id, now());
    write_log(id, log);
    history.finish(id, std::nullopt, now());
    return id;
  }

  TemporaryDirectory directory;
  history::StateLayout layout;
  history::History history;
};

}  // namespace nixbuild::test
