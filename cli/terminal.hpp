// SPDX-License-Identifier: MIT
// The three standard descriptors: colours, questions, and output whose failure is noticed.
#pragma once

#include <string>
#include <string_view>

#include "core/base/result.hpp"

namespace vbd::cli {

inline constexpr ErrorKind kOutput{"output.failed", Exit::failed};
/// Whoever read the output has had enough: no news for anybody.
inline constexpr ErrorKind kNoReader{"output.no_reader", Exit::failed};

inline constexpr int kStdout = 1, kStderr = 2;

/// A closed descriptor 0, 1 or 2 would be given to the first file that is opened, and our output would go
/// into it: such are opened on /dev/null, stdout so that writing fails as before. First thing in main.
void guard_standard_descriptors();

/// `when` is auto, always or never; auto: a terminal, TERM not dumb, NO_COLOR not set (no-color.org).
[[nodiscard]] bool wants_color(std::string_view when, int fd);

/// A terminal that knows more than lines.
[[nodiscard]] bool is_terminal(int fd);

/// All of it, or an error: a closed pipe and a full disk included.
[[nodiscard]] Result<void> write_stdout(std::string_view text);
void write_stderr(std::string_view text);

[[nodiscard]] bool can_ask();
/// Only after can_ask(). Anything but y or yes is no.
[[nodiscard]] bool ask(const std::string &question);

}  // namespace vbd::cli
