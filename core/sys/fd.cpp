// SPDX-License-Identifier: MIT
#include "core/sys/fd.hpp"

#include <unistd.h>

namespace vbd::sys {

void Fd::reset(int fd) {
  // Not repeated on EINTR: Linux has released the number by then (close(2), NOTES).
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

}  // namespace vbd::sys
