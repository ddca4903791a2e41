// SPDX-License-Identifier: MIT
// Small text tools. Pure functions, thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace vbd::text {

inline void append(std::string &out, std::string_view part) {
  out += part;
}
inline void append(std::string &out, char part) {
  out += part;
}
template <class N>
requires(std::is_integral_v<N> && !std::is_same_v<N, char> &&
         !std::is_same_v<N, bool>) void append(std::string &out, N part) {
  out += std::to_string(part);
}

/// cat("disk ", 3, ": ", path): builds one string of strings, characters and integers.
template <class... Parts>
[[nodiscard]] std::string cat(const Parts &...parts) {
  std::string out;
  (append(out, parts), ...);
  return out;
}

/// Pieces between separators; "" gives one empty piece.
[[nodiscard]] std::vector<std::string> split(std::string_view text, char separator);
[[nodiscard]] std::string join(std::span<const std::string> parts, std::string_view separator);
[[nodiscard]] std::string lower(std::string_view text);  ///< ASCII only
[[nodiscard]] std::string upper(std::string_view text);  ///< ASCII only

/// Valid UTF-8 without control characters: fit for a terminal and for JSON as it is.
[[nodiscard]] bool is_printable_utf8(std::string_view text);

/// For messages: control characters and bytes that are not UTF-8 as \xNN, so that hostile names can't
/// write to the terminal and every error stays one line.
[[nodiscard]] std::string printable(std::string_view text);

/// Candidates by edit distance to `word`, nearest first; equal distances in the given order.
[[nodiscard]] std::vector<std::string> nearest_first(std::string_view word,
                                                     std::vector<std::string> candidates);

/// The one candidate near enough to be a slip of the pen, or "".
[[nodiscard]] std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);

}  // namespace vbd::text
