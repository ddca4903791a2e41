// SPDX-License-Identifier: MIT
// What the fuzz targets of the rooms share: the input in pieces, and the promises that hold of everything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "core/base/text.hpp"

namespace vbd::fuzz {

/// A broken promise: said, then the process ends, so that the input is kept.
inline void require(bool promise, std::string_view what) {
  if (promise) return;
  std::fprintf(stderr, "BROKEN: %.*s\n", static_cast<int>(what.size()), what.data());
  __builtin_trap();
}

/// Every error has an id, and one line of text that a terminal can show.
inline void check_error(const Error &error) {
  require(error.id().find('.') != std::string_view::npos, "an error without an id");
  require(!error.message().empty(), "an error without a message");
  if (!text::is_printable_utf8(error.message())) {
    std::fprintf(stderr, "%s\n", text::printable(error.message()).c_str());
    require(false, "an error's message that a terminal can't show");
  }
  require(text::is_printable_utf8(error.hint()), "an error's hint that a terminal can't show");
  require(error.exit() != Exit::done, "an error that ends with exit 0");
}

/// True when it is a value; an error is checked.
template <class T>
bool good(const Result<T> &result) {
  if (!result) check_error(result.error());
  return result.ok();
}

inline std::string_view text_of(const std::uint8_t *data, std::size_t size) {
  return {reinterpret_cast<const char *>(data), size};
}

/// Pieces between NUL bytes, for targets that take several words.
inline std::vector<std::string> words_of(const std::uint8_t *data, std::size_t size) {
  return text::split(text_of(data, size), '\0');
}

}  // namespace vbd::fuzz
