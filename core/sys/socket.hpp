// SPDX-License-Identifier: MIT
// A local stream socket on which lines are exchanged, with a time-out for each step. Not thread-safe.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "core/base/result.hpp"
#include "core/sys/errors.hpp"
#include "core/sys/fd.hpp"

namespace vbd::sys {

class LineSocket {
 public:
  /// kNotFound: there is no socket, or nobody listens; kHelperTimeout: nobody took the connection in time.
  /// A path may have at most 107 bytes (unix(7)).
  [[nodiscard]] static Result<LineSocket> connect(const std::string &path,
                                                  std::chrono::milliseconds patience);
  /// A newline is added.
  [[nodiscard]] Result<void> write_line(std::string_view line, std::chrono::milliseconds patience);
  /// Without its newline. kHelperTimeout; kNotFound when the other side has closed; kIo for a line of more
  /// than 1 MiB.
  [[nodiscard]] Result<std::string> read_line(std::chrono::milliseconds patience);

 private:
  LineSocket(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  Fd fd_;
  std::string path_, buffer_;
};

}  // namespace vbd::sys
