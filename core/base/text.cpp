// SPDX-License-Identifier: MIT
#include "core/base/text.hpp"

#include <algorithm>
#include <utility>

namespace vbd::text {
namespace {

bool in(unsigned char c, unsigned low, unsigned high) {
  return c >= low && c <= high;
}

/// Length of the well-formed UTF-8 sequence at the start of `text`, 0 when there is none (Unicode 15,
/// table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF).
std::size_t utf8_length(std::string_view text) {
  const auto at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto tail = [&](std::size_t i) { return (at(i) & 0xc0u) == 0x80u; };
  const auto lead = static_cast<unsigned char>(at(0));
  const auto second = static_cast<unsigned char>(at(1));
  if (lead < 0x80) return 1;
  if (in(lead, 0xc2, 0xdf)) return tail(1) ? 2 : 0;
  if (in(lead, 0xe0, 0xef)) {
    const unsigned low = lead == 0xe0 ? 0xa0 : 0x80, high = lead == 0xed ? 0x9f : 0xbf;
    return in(second, low, high) && tail(2) ? 3 : 0;
  }
  if (in(lead, 0xf0, 0xf4)) {
    const unsigned low = lead == 0xf0 ? 0x90 : 0x80, high = lead == 0xf4 ? 0x8f : 0xbf;
    return in(second, low, high) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

/// Characters that steer a terminal or break or turn a line: C0, DEL, C1 (U+0080..9F), the line and
/// paragraph separators and the bidirectional controls (U+2028..202E, U+2066..2069), U+FEFF.
bool is_control(std::string_view sequence) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(sequence[i]); };
  if (sequence.size() == 1) return at(0) < 0x20 || at(0) == 0x7f;
  if (sequence.size() == 2) return at(0) == 0xc2 && at(1) < 0xa0;
  if (sequence.size() != 3) return false;
  if (at(0) == 0xe2 && at(1) == 0x80) return in(at(2), 0xa8, 0xae);
  if (at(0) == 0xe2 && at(1) == 0x81) return in(at(2), 0xa6, 0xa9);
  return at(0) == 0xef && at(1) == 0xbb && at(2) == 0xbf;
}

void append_hex(std::string &out, unsigned char byte) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  out += "\\x";
  out += kDigits[byte >> 4];
  out += kDigits[byte & 15];
}

char lower_char(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
char upper_char(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

/// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment), case ignored.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const char x = lower_char(a[i - 1]), y = lower_char(b[j - 1]);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (x == y ? 0u : 1u)});
      const bool swapped = i > 1 && j > 1 && x == lower_char(b[j - 2]) && lower_char(a[i - 2]) == y;
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

/// Distances are quadratic: nobody mistypes a word longer than this.
constexpr std::size_t kLongestWord = 256;

}  // namespace

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  std::size_t from = 0;
  for (;;) {
    const std::size_t to = text.find(separator, from);
    if (to == std::string_view::npos) break;
    parts.emplace_back(text.substr(from, to - from));
    from = to + 1;
  }
  parts.emplace_back(text.substr(from));
  return parts;
}

std::string join(std::span<const std::string> parts, std::string_view separator) {
  std::string out;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i != 0) out += separator;
    out += parts[i];
  }
  return out;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), lower_char);
  return out;
}

std::string upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), upper_char);
  return out;
}

bool is_printable_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    if (length == 0 || is_control(text.substr(0, length))) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const std::string_view sequence = text.substr(0, length == 0 ? 1 : length);
    if (length != 0 && !is_control(sequence)) {
      out += sequence;
    } else {
      for (const char c : sequence) append_hex(out, static_cast<unsigned char>(c));
    }
    text.remove_prefix(sequence.size());
  }
  return out;
}

std::vector<std::string> nearest_first(std::string_view word, std::vector<std::string> candidates) {
  if (word.size() > kLongestWord) return candidates;
  std::vector<std::pair<std::size_t, std::string>> rated;
  rated.reserve(candidates.size());
  for (std::string &candidate : candidates) {
    const std::size_t distance =
        candidate.size() > kLongestWord ? candidate.size() : edit_distance(word, candidate);
    rated.emplace_back(distance, std::move(candidate));
  }
  std::stable_sort(rated.begin(), rated.end(),
                   [](const auto &a, const auto &b) { return a.first < b.first; });
  candidates.clear();
  for (auto &entry : rated) candidates.push_back(std::move(entry.second));
  return candidates;
}

std::string did_you_mean(std::string_view word, std::span<const std::string> candidates) {
  if (word.empty() || word.size() > kLongestWord) return {};
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(1, std::min<std::size_t>(3, word.size() / 3)) + 1;
  for (const std::string &candidate : candidates) {
    if (candidate.size() > kLongestWord) continue;
    const std::size_t distance = edit_distance(word, candidate);
    if (distance >= best_distance || distance >= candidate.size()) continue;
    best = candidate;
    best_distance = distance;
  }
  return best;
}

}  // namespace vbd::text
