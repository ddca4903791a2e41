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
/// Owner, group (-1: stays) and mode.
[[nodiscard]] Result<void> set_ownership(int fd, const Ownership &ownership);

}  // namespace vbd::sys
