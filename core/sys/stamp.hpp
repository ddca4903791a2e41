// SPDX-License-Identifier: MIT
// What tells whether a file was changed since it was looked at. Thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/result.hpp"
#include "core/sys/files.hpp"

namespace vbd::sys {

struct FileStamp {
  FileId id;
  std::uint64_t size = 0;
  std::string times;  ///< of its content, of its inode and of its birth, to the nanosecond
};
/// Two that are alike: nobody wrote in between. Only whoever may set the host's clock can deceive it.
[[nodiscard]] Result<FileStamp> file_stamp(int fd);

}  // namespace vbd::sys
