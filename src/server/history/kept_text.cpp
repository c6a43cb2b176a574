#include "server/history/kept_text.hpp"

#include <algorithm>

namespace nixbuild::history {
namespace {

constexpr std::string_view ellipsis = "…";

std::size_t tail_size(const protocol::Target& target) {
  std::size_t size = 0;
  for (const std::string& line : target.log_tail)
    size += line.size() + 1;
  return size;
}

bool continues_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xc0) == 0x80;
}

}  // namespace

std::string shortened(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return std::string(text);
  if (limit < ellipsis.size()) return {};
  std::size_t end = limit - ellipsis.size();
  while (end > 0 && continues_character(text[end]))
    --end;
  return std::string(text.substr(0, end)).append(ellipsis);
}

std::size_t text_allowance(const std::vector<protocol::Target>& targets) {
  std::vector<std::size_t> sizes;
  sizes.reserve(targets.size());
  for (const protocol::Target& target : targets)
    sizes.push_back(target.error.size() + tail_size(target));
  std::sort(sizes.begin(), sizes.end());
  std::size_t left = build_text_limit;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const std::size_t share = left / (sizes.size() - i);
    if (std::min(sizes[i], target_text_limit) > share) return share;
    left -= std::min(sizes[i], target_text_limit);
  }
  return target_text_limit;
}

KeptText kept_text(const protocol::Target& target, std::size_t allowance) {
  const std::size_t tail = tail_size(target);
  KeptText kept;
  // Half for each; what one does not need goes to the other.
  kept.error =
      shortened(target.error, std::max(allowance / 2, allowance - std::min(allowance, tail)));
  std::size_t left = allowance - kept.error.size();
  auto first = target.log_tail.end();
  while (first != target.log_tail.begin() && std::prev(first)->size() < left) {
    --first;
    left -= first->size() + 1;
  }
  for (; first != target.log_tail.end(); ++first)
    kept.log_tail.append(*first).append("\n");
  return kept;
}

}  // namespace nixbuild::history
