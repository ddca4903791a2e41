// SPDX-License-Identifier: MIT
// The log: stderr, quiet by default (warnings and errors). The only place that sees spdlog, which is
// set up on the first message so that commands that log nothing do not pay for it. Thread-safe.
#pragma once

#include <string_view>

namespace vbd::log {

enum class Level { error, warn, info, debug };

/// From -v and -vv; before the first message.
void set_level(Level level);
[[nodiscard]] bool enabled(Level level);
void write(Level level, std::string_view text);

inline void error(std::string_view text) {
  write(Level::error, text);
}
inline void warn(std::string_view text) {
  write(Level::warn, text);
}
inline void info(std::string_view text) {
  write(Level::info, text);
}
inline void debug(std::string_view text) {
  write(Level::debug, text);
}

/// One line about a mutation into syslog (the journal where there is one): what was asked, by which
/// user id, and how it ended. Never fails the caller.
void audit(std::string_view what, std::string_view result);

}  // namespace vbd::log
