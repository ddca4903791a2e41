// SPDX-License-Identifier: MIT
#include "core/sys/take_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "core/base/text.hpp"
#include "core/sys/calls.hpp"

namespace vbd::sys {

Result<void> move_file_at(int from_directory, const std::string &from, int to_directory,
                          const std::string &to) {
  int failed = 0;
  if (calls().renameat2(from_directory, from.c_str(), to_directory, to.c_str(), RENAME_NOREPLACE) != 0)
    failed = errno;
  if (failed == EINVAL || failed == ENOSYS || failed == EOPNOTSUPP) {
    failed = calls().linkat(from_directory, from.c_str(), to_directory, to.c_str(), 0) == 0 ? 0 : errno;
    if (failed == 0 && calls().unlinkat(from_directory, from.c_str(), 0) != 0) failed = errno;
  }
  if (failed == EXDEV) {
    return Error{kCrossDevice,
                 text::cat(text::printable(from), ": lies on another filesystem, and can't be moved")};
  }
  if (failed != 0) {
    return errno_error(text::cat("move ", text::printable(from), " to ", text::printable(to)), failed);
  }
  VBD_TRY(sync_fd(to_directory));
  return sync_fd(from_directory);
}

Result<void> set_ownership(int fd, const Ownership &ownership) {
  const auto uid = static_cast<uid_t>(ownership.uid);
  const auto gid = static_cast<gid_t>(ownership.gid);
  if ((ownership.uid >= 0 || ownership.gid >= 0) && ::fchown(fd, uid, gid) != 0)
    return errno_error("change the owner of a file", errno);
  if (::fchmod(fd, static_cast<mode_t>(ownership.mode)) != 0)
    return errno_error("change the mode of a file", errno);
  return {};
}

}  // namespace vbd::sys
