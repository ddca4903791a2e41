// SPDX-License-Identifier: MIT
#include "core/sys/move.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/base/text.hpp"
#include "core/sys/errors.hpp"
#include "core/sys/host_file.hpp"

namespace vbd::sys {
namespace {

constexpr std::uint64_t kOneCall = std::uint64_t{1} << 30;

/// Neither file is at fault: the filesystem, the kernel or the pair of files does not do it.
bool not_possible(int error) {
  return error == EOPNOTSUPP || error == ENOTTY || error == ENOSYS || error == EXDEV || error == EINVAL ||
         error == EPERM || error == ETXTBSY || error == EBADF;
}

/// cachestat(2), Linux 6.5: include/uapi/linux/mman.h, and the number that all machines share.
struct CachestatRange {
  std::uint64_t offset = 0, length = 0;
};
struct Cachestat {
  std::uint64_t cache = 0, dirty = 0, writeback = 0, evicted = 0, recently_evicted = 0;  // pages
};
constexpr long kCachestat = 451;
constexpr std::uint64_t kSamples = 32,
                        kSample = 65536;  // stretches of a file that are asked for, and bytes of each

Error file_error(std::string_view what, const std::string &name, int error) {
  return errno_error(text::cat(what, " ", text::printable(name)), error);
}

template <class Call>
auto until_done(Call &&call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

}  // namespace

Result<bool> clone_whole(int from, int to) {
  if (until_done([&] { return ::ioctl(to, FICLONE, from); }) == 0) return true;
  if (not_possible(errno)) return false;
  return errno_error("share the content of a file", errno);
}

Result<bool> clone_range(const Way &way, std::uint64_t from, std::uint64_t length, std::uint64_t to) {
  struct file_clone_range range {};
  range.src_fd = way.from;
  range.src_offset = from;
  range.src_length = length;
  range.dest_offset = to;
  if (until_done([&] { return ::ioctl(way.to, FICLONERANGE, &range); }) == 0) return true;
  if (not_possible(errno)) return false;
  return file_error("share the content with", way.to_name, errno);
}

Result<std::uint64_t> copy_range(const Way &way, std::uint64_t from, std::uint64_t length, std::uint64_t to) {
  auto in = static_cast<off64_t>(from);
  auto out = static_cast<off64_t>(to);
  std::uint64_t done = 0;
  while (done < length) {
    const std::uint64_t part = std::min(length - done, kOneCall);
    const ssize_t n = until_done([&] { return ::copy_file_range(way.from, &in, way.to, &out, part, 0); });
    if (n > 0) {
      done += static_cast<std::uint64_t>(n);
      continue;
    }
    // EIO can be either file's, and 0 is the end of one that became shorter: reading and writing tells.
    if (n == 0 || errno == EIO || not_possible(errno)) return done;
    return file_error("write", way.to_name, errno);
  }
  return done;
}

bool copies_remotely(int fd) {
  constexpr unsigned long kFuse = 0x65735546;  // fs/fuse/inode.c; the others are in linux/magic.h
  struct statfs fs {};
  if (::fstatfs(fd, &fs) != 0) return false;
  switch (static_cast<unsigned long>(fs.f_type)) {
    case NFS_SUPER_MAGIC:
    case CIFS_SUPER_MAGIC:
    case SMB2_SUPER_MAGIC:
    case CEPH_SUPER_MAGIC:
    case kFuse:
      return true;
    default:
      return false;
  }
}

Result<bool> allocate_at(int fd, const std::string &name, std::uint64_t offset, std::uint64_t length) {
  const HostFile file(fd);
  const std::int32_t status = file.file()->allocate(file.file()->ctx, offset, length);
  if (status == 0) return true;
  if (not_possible(-status)) return false;
  return file_error("write", name, -status);
}

Result<void> read_at(int fd, const std::string &name, void *to, std::uint64_t length, std::uint64_t offset) {
  const HostFile file(fd, VBD_FILE_READONLY);
  const std::int64_t n = file.file()->read(file.file()->ctx, to, length, offset);
  if (n < 0) return file_error("read", name, static_cast<int>(-n));
  if (static_cast<std::uint64_t>(n) == length) return {};
  return Error(kIo, text::cat("read ", text::printable(name), ": the file became shorter while in use"));
}

Result<void> write_at(int fd, const std::string &name, const void *from, std::uint64_t length,
                      std::uint64_t offset) {
  const HostFile file(fd);
  const std::int64_t n = file.file()->write(file.file()->ctx, from, length, offset);
  if (n < 0) return file_error("write", name, static_cast<int>(-n));
  return {};
}

Result<void> punch_at(int fd, const std::string &name, std::uint64_t offset, std::uint64_t length) {
  const HostFile file(fd);
  const std::int32_t status = file.file()->punch(file.file()->ctx, offset, length);
  if (status != 0) return file_error("write", name, -status);
  return {};
}

std::uint64_t next_hole(int fd, std::uint64_t offset, std::uint64_t end) {
  const off_t found = ::lseek(fd, static_cast<off_t>(offset), SEEK_HOLE);
  if (found < 0) return errno == ENXIO ? offset : end;
  return std::min(end, static_cast<std::uint64_t>(found));
}

std::uint64_t next_data(int fd, std::uint64_t offset, std::uint64_t end) {
  const off_t found = ::lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
  if (found < 0) return errno == ENXIO ? end : offset;
  return std::min(end, static_cast<std::uint64_t>(found));
}

std::uint64_t shared_block(int from, int to) {
  struct stat a {
  }, b{};
  struct statfs fs {};
  if (::fstat(from, &a) != 0 || ::fstat(to, &b) != 0 || a.st_dev != b.st_dev || ::fstatfs(to, &fs) != 0)
    return 0;
  return fs.f_bsize > 0 ? static_cast<std::uint64_t>(fs.f_bsize) : 0;
}

bool is_cached(int fd) {
  struct stat st {};
  if (::fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return false;
  const auto size = static_cast<std::uint64_t>(st.st_size);
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  for (std::uint64_t i = 0; i < kSamples; ++i) {
    const std::uint64_t begin = next_data(fd, size / kSamples * i, size) / page * page;
    const std::uint64_t end = std::min(next_hole(fd, begin, size), begin + kSample);
    if (begin >= end) continue;
    CachestatRange range{begin, end - begin};
    Cachestat found;
    if (::syscall(kCachestat, fd, &range, &found, 0u) != 0) return false;
    if (found.cache * page < end - begin) return false;
  }
  return true;
}

void begin_reading(int fd, std::uint64_t offset, std::uint64_t length) {
  (void)::posix_fadvise(fd, static_cast<off_t>(offset), static_cast<off_t>(length), POSIX_FADV_WILLNEED);
}

void begin_writing(int fd, std::uint64_t offset, std::uint64_t length) {
  (void)::sync_file_range(fd, static_cast<off_t>(offset), static_cast<off_t>(length), SYNC_FILE_RANGE_WRITE);
}

}  // namespace vbd::sys
