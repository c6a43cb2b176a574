// Nix's log, as a build follows it: for any input, the counts are consistent and the kept text is
// valid.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "check.hpp"
#include "server/builder/build_monitor.hpp"
#include "server/builder/derivation_file.hpp"
#include "server/builder/evaluation_result.hpp"
#include "server/builder/toolbox.hpp"
#include "server/history/build_log.hpp"

using namespace nixbuild;
using namespace nixbuild::builder;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  std::size_t asked = 0;
  BuildMonitor monitor({[](std::string_view line) {
                          const std::string cleaned = history::clean_line(line);
                          CHECK(cleaned.size() <= history::max_line_length + 8);
                          CHECK(cleaned.find('\n') == std::string::npos);
                          CHECK(cleaned.find('\x1b') == std::string::npos);
                          CHECK(history::clean_line(cleaned) == cleaned ||
                                cleaned.size() > history::max_line_length);
                          CHECK(nlohmann::json::accept(nlohmann::json(cleaned).dump()));
                        },
                        [&asked](const std::string&) { return ++asked % 3 == 0; },
                        [] { return std::chrono::system_clock::time_point(); }});
  static_cast<void>(parse_derivation(text));
  static_cast<void>(parse_evaluation_result(text));
  const std::string reason = reason_in(text);
  CHECK(nlohmann::json::accept(nlohmann::json(reason).dump()));
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    monitor.handle_line(line);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  monitor.finish("nix-store ended");
  CHECK(monitor.progress().running.empty());
  for (const auto& [derivation, failure] : monitor.failures()) {
    CHECK(failure.log_tail.size() <= history::log_tail_lines);
  }
  return 0;
}
