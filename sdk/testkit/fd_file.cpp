// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "files.hpp"

namespace vbdkit::testkit {
namespace {

// SSIZE_MAX is not what one read or write moves: Linux stops at 0x7ffff000 bytes (read(2)).
constexpr std::uint64_t kLargestCall = 0x7ffff000;

int fd_of(void *ctx) {
  return *static_cast<const int *>(ctx);
}

std::int64_t fd_read(void *ctx, void *to, std::uint64_t length, std::uint64_t offset) noexcept {
  auto *out = static_cast<char *>(to);
  std::uint64_t done = 0;
  while (done < length) {
    const auto n = ::pread(fd_of(ctx), out + done, std::min(length - done, kLargestCall),
                           static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -errno;
    if (n == 0) break;
    done += static_cast<std::uint64_t>(n);
  }
  return static_cast<std::int64_t>(done);
}

std::int64_t fd_write(void *ctx, const void *from, std::uint64_t length, std::uint64_t offset) noexcept {
  const auto *in = static_cast<const char *>(from);
  std::uint64_t done = 0;
  while (done < length) {
    const auto n = ::pwrite(fd_of(ctx), in + done, std::min(length - done, kLargestCall),
                            static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -errno;
    if (n == 0) return -EIO;
    done += static_cast<std::uint64_t>(n);
  }
  return static_cast<std::int64_t>(done);
}

std::int32_t fd_get_size(void *ctx, std::uint64_t *bytes) noexcept {
  struct stat status = {};
  if (::fstat(fd_of(ctx), &status) != 0) return -errno;
  *bytes = static_cast<std::uint64_t>(status.st_size);
  return 0;
}

std::int32_t fd_truncate(void *ctx, std::uint64_t bytes) noexcept {
  return ::ftruncate(fd_of(ctx), static_cast<off_t>(bytes)) == 0 ? 0 : -errno;
}

std::int32_t fd_allocate(void *ctx, std::uint64_t offset, std::uint64_t length) noexcept {
  return ::fallocate(fd_of(ctx), 0, static_cast<off_t>(offset), static_cast<off_t>(length)) == 0 ? 0 : -errno;
}

std::int32_t write_zeros(void *ctx, std::uint64_t offset, std::uint64_t length) {
  static constexpr char kZeros[65536] = {};
  for (std::uint64_t done = 0; done < length;) {
    const std::uint64_t n = std::min<std::uint64_t>(sizeof kZeros, length - done);
    if (const auto written = fd_write(ctx, kZeros, n, offset + done); written < 0) {
      return static_cast<std::int32_t>(written);
    }
    done += n;
  }
  return 0;
}

std::int32_t fd_punch(void *ctx, std::uint64_t offset, std::uint64_t length) noexcept {
  std::uint64_t size = 0;
  if (const auto error = fd_get_size(ctx, &size); error != 0) return error;
  if (offset >= size || length == 0) return 0;
  length = std::min(length, size - offset);
  if (::fallocate(fd_of(ctx), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                  static_cast<off_t>(length)) == 0) {
    return 0;
  }
  return errno == EOPNOTSUPP ? write_zeros(ctx, offset, length) : -errno;
}

std::int32_t fd_map(void *ctx, std::uint64_t offset, std::uint64_t *length, std::uint32_t *is_hole) noexcept {
  const auto at = static_cast<off_t>(offset);
  const off_t data = ::lseek(fd_of(ctx), at, SEEK_DATA);
  if (data < 0) {
    const int error = errno;
    std::uint64_t size = 0;
    if (error != ENXIO || fd_get_size(ctx, &size) != 0 || offset >= size) return -error;
    *is_hole = 1;  // no data up to the end
    *length = size - offset;
    return 0;
  }
  *is_hole = data > at ? 1 : 0;
  const off_t end = data > at ? data : ::lseek(fd_of(ctx), at, SEEK_HOLE);
  if (end < 0) return -errno;
  *length = static_cast<std::uint64_t>(end - at);
  return 0;
}

std::int32_t fd_sync(void *ctx) noexcept {
  return ::fdatasync(fd_of(ctx)) == 0 ? 0 : -errno;
}

}  // namespace

FdFile::FdFile(int fd, std::uint32_t flags)
    : fd_(fd), file_{sizeof(vbd_file), flags,       &fd_,     fd_read, fd_write, fd_get_size,
                     fd_truncate,      fd_allocate, fd_punch, fd_map,  fd_sync} {}

}  // namespace vbdkit::testkit
