// Writes metrics in Prometheus's text format (prometheus.io, "Text-based format"), including those
// common to all servers.
#pragma once

#include <fmt/format.h>

#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include "server/http/router.hpp"
#include "server/http/server.hpp"

namespace nixbuild::http {

class PrometheusText {
 public:
  // `prefix` starts every name: "nixbuild_cache_".
  explicit PrometheusText(std::string prefix) : prefix_(std::move(prefix)) {}

  // Starts a metric family; its samples follow. `type` is "counter" or "gauge".
  void family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = prefix_ + std::string(name);
    fmt::format_to(out(), "# HELP {} {}\n# TYPE {} {}\n", name_, help, name_, type);
  }
  // `labels` is the text between the braces.
  template <typename Value>
  void sample(Value value, std::string_view labels = {}) {
    if (labels.empty()) {
      fmt::format_to(out(), "{} {}\n", name_, value);
    } else {
      fmt::format_to(out(), "{}{{{}}} {}\n", name_, labels, value);
    }
  }
  template <typename Value>
  void single(std::string_view name, std::string_view type, std::string_view help, Value value) {
    family(name, type, help);
    sample(value);
  }

  // The program's version, its memory and descriptors.
  void process();
  // Responses by route, connections, bytes.
  void server(const ServerStatistics& statistics, const Router& router);

  std::string take() { return std::move(text_); }

 private:
  std::back_insert_iterator<std::string> out() { return std::back_inserter(text_); }

  const std::string prefix_;
  std::string text_;
  std::string name_;
};

}  // namespace nixbuild::http
