// SPDX-License-Identifier: MIT
#include "core/sys/stamp.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "core/base/text.hpp"

namespace vbd::sys {
namespace {

std::string shown(const struct statx_timestamp &time) {
  return text::cat(std::int64_t{time.tv_sec}, ".", std::uint32_t{time.tv_nsec});
}

}  // namespace

Result<FileStamp> file_stamp(int fd) {
  struct statx st {};
  const unsigned wanted = STATX_SIZE | STATX_MTIME | STATX_CTIME | STATX_BTIME | STATX_INO;
  // Also of a file on another host as it is now.
  if (::statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, wanted, &st) != 0)
    return errno_error("statx", errno);
  auto info = file_info(fd);  // the device as one number, as everywhere
  if (!info) return info.error();
  FileStamp stamp{info->id, st.stx_size, text::cat(shown(st.stx_mtime), " ", shown(st.stx_ctime))};
  // A filesystem without it leaves it out: then the inode's time alone tells a reused number.
  if ((st.stx_mask & STATX_BTIME) != 0) stamp.times += text::cat(" ", shown(st.stx_btime));
  return stamp;
}

}  // namespace vbd::sys
