// SPDX-License-Identifier: MIT
// A file that is there gets another place or another owner. Thread-safe.
#pragma once

#include <string>

#include "core/base/result.hpp"
#include "core/sys/files.hpp"

namespace vbd::sys {

inline constexpr ErrorKind kCrossDevice{"path.other_filesystem", Exit::refused};

/// Moved within a filesystem, never replacing (kExists), both directories made durable. kCrossDevice.
[[nodiscard]] Result<void> move_file_at(int from_directory, const std::string &from, int to_directory,
                                        const std::string &to);
/// A regular file of a directory that is open, never following a link: for what is checked and then used
/// through one descriptor. `path` is for messages.
[[nodiscard]] Result<Fd> open_regular_at(int directory, const std::string &name, const std::string &path,
                                         Access access);

/// Owner, group (-1: stays) and mode.
[[nodiscard]] Result<void> set_ownership(int fd, const Ownership &ownership);

}  // namespace vbd::sys
