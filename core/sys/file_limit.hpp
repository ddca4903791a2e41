// SPDX-License-Identifier: MIT
// The limit on the size of the files that a process writes (ulimit -f): an error as any other, not a death.
#pragma once

#include <csignal>

#include "core/base/error.hpp"

namespace vbd::sys {

/// EFBIG: over that limit, or more than the filesystem can have in one file.
inline constexpr ErrorKind kFileTooLarge{"io.file_size_limit", Exit::failed};

/// For the start of a program: a write over the limit answers EFBIG. Programs that it starts are not touched.
inline void take_file_limit_as_error() {
  ::signal(SIGXFSZ, SIG_IGN);
}

}  // namespace vbd::sys
