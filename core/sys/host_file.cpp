// SPDX-License-Identifier: MIT
#include "core/sys/host_file.hpp"
#include "core/sys/calls.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <limits>

namespace vbd::sys {
namespace {

constexpr std::uint64_t kMaxOffset = static_cast<std::uint64_t>(std::numeric_limits<off_t>::max());
/// Linux moves at most this many bytes in one call (read(2)); a larger wish is just cut there.
constexpr std::uint64_t kMaxChunk = 0x7ffff000;

int fd_of(void *ctx) {
  return static_cast<const HostFile::Context *>(ctx)->fd;
}
bool in_range(std::uint64_t off, std::uint64_t len) {
  return off <= kMaxOffset && len <= kMaxOffset - off;
}

template <class Call>
auto retry(Call &&call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

std::int64_t host_read(void *ctx, void *buf, std::uint64_t len, std::uint64_t off) noexcept {
  if (!in_range(off, len)) return -EINVAL;
  auto *to = static_cast<char *>(buf);
  std::uint64_t done = 0;
  while (done < len) {
    const auto want = static_cast<std::size_t>(std::min(len - done, kMaxChunk));
    const ssize_t n =
        retry([&] { return ::pread(fd_of(ctx), to + done, want, static_cast<off_t>(off + done)); });
    if (n < 0) return -errno;
    if (n == 0) break;
    done += static_cast<std::uint64_t>(n);
  }
  return static_cast<std::int64_t>(done);
}

std::int64_t host_write(void *ctx, const void *buf, std::uint64_t len, std::uint64_t off) noexcept {
  if (!in_range(off, len)) return -EFBIG;
  const auto *from = static_cast<const char *>(buf);
  std::uint64_t done = 0;
  while (done < len) {
    const auto want = static_cast<std::size_t>(std::min(len - done, kMaxChunk));
    const ssize_t n =
        retry([&] { return ::pwrite(fd_of(ctx), from + done, want, static_cast<off_t>(off + done)); });
    if (n < 0) return -errno;
    if (n == 0) return -EIO;
    done += static_cast<std::uint64_t>(n);
  }
  return static_cast<std::int64_t>(len);
}

std::int32_t host_get_size(void *ctx, std::uint64_t *bytes) noexcept {
  struct stat st {};
  if (::fstat(fd_of(ctx), &st) != 0) return -errno;
  off_t size = st.st_size;
  if (S_ISBLK(st.st_mode)) size = ::lseek(fd_of(ctx), 0, SEEK_END);  // st_size of a device is 0
  if (size < 0) return -errno;
  *bytes = static_cast<std::uint64_t>(size);
  return 0;
}

std::int32_t host_truncate(void *ctx, std::uint64_t bytes) noexcept {
  if (bytes > kMaxOffset) return -EFBIG;
  return retry([&] { return ::ftruncate(fd_of(ctx), static_cast<off_t>(bytes)); }) == 0 ? 0 : -errno;
}

std::int32_t host_allocate(void *ctx, std::uint64_t off, std::uint64_t len) noexcept {
  if (len == 0) return 0;
  if (!in_range(off, len)) return -EFBIG;
  const int rc =
      retry([&] { return ::fallocate(fd_of(ctx), 0, static_cast<off_t>(off), static_cast<off_t>(len)); });
  if (rc == 0) return 0;
  return errno == ENOSYS ? -EOPNOTSUPP : -errno;
}

/// For filesystems that cannot punch: the range reads as zero, its space stays.
std::int32_t write_zeros(void *ctx, std::uint64_t off, std::uint64_t len) noexcept {
  static constexpr std::array<char, 65536> kZeros{};
  while (len > 0) {
    const std::uint64_t part = std::min<std::uint64_t>(len, kZeros.size());
    const std::int64_t n = host_write(ctx, kZeros.data(), part, off);
    if (n < 0) return static_cast<std::int32_t>(n);
    off += part;
    len -= part;
  }
  return 0;
}

std::int32_t host_punch(void *ctx, std::uint64_t off, std::uint64_t len) noexcept {
  if (!in_range(off, len)) return -EINVAL;
  std::uint64_t size = 0;
  if (const std::int32_t rc = host_get_size(ctx, &size); rc != 0) return rc;
  if (len == 0 || off >= size) return 0;
  len = std::min(len, size - off);
  const int rc = retry([&] {
    return ::fallocate(fd_of(ctx), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(off),
                       static_cast<off_t>(len));
  });
  if (rc == 0) return 0;
  if (errno == EOPNOTSUPP || errno == ENOSYS) return write_zeros(ctx, off, len);
  return -errno;
}

/// From `off` to the end of the file, for those that can't say more.
std::int32_t rest_of_file(void *ctx, std::uint64_t off, std::uint64_t *len) noexcept {
  std::uint64_t size = 0;
  if (const std::int32_t rc = host_get_size(ctx, &size); rc != 0) return rc;
  if (off >= size) return -ENXIO;
  *len = size - off;
  return 0;
}

/// What begins at `off`, asked for as `what` ends (SEEK_HOLE: data, SEEK_DATA: a hole): its length, 0 where
/// it does not begin there, negative errno.
std::int64_t length_up_to(void *ctx, std::uint64_t off, int what) noexcept {
  const off_t end = ::lseek(fd_of(ctx), static_cast<off_t>(off), what);
  return end < 0 ? -errno : end - static_cast<off_t>(off);
}

/// lseek(2): a file ends with a hole of no length, and both questions beyond its end are ENXIO. Data is asked
/// for first, but where data ended last time a hole: most maps then ask two questions of a pair and not
/// three.
std::int32_t host_map(void *ctx, std::uint64_t off, std::uint64_t *len, std::uint32_t *is_hole) noexcept {
  if (off > kMaxOffset) return -ENXIO;
  auto &data_end = static_cast<HostFile::Context *>(ctx)->data_end;
  const bool hole_first = data_end == off;
  std::int64_t found = 0;
  for (const bool hole : {hole_first, !hole_first}) {
    found = length_up_to(ctx, off, hole ? SEEK_DATA : SEEK_HOLE);
    *is_hole = hole || found == -ENXIO ? 1 : 0;  // ENXIO: no data from here on, or beyond the end
    if (found == 0) continue;
    if (found < 0) break;
    *len = static_cast<std::uint64_t>(found);
    if (!hole) data_end = off + *len;
    return 0;
  }
  if (found != -ENXIO) *is_hole = 0;  // it can't tell
  return rest_of_file(ctx, off, len);
}

std::int32_t host_sync(void *ctx) noexcept {
  return retry([&] { return calls().fdatasync(fd_of(ctx)); }) == 0 ? 0 : -errno;
}

std::int64_t refuse_write(void *, const void *, std::uint64_t, std::uint64_t) noexcept {
  return -EBADF;
}
std::int32_t refuse_truncate(void *, std::uint64_t) noexcept {
  return -EBADF;
}
std::int32_t refuse_range(void *, std::uint64_t, std::uint64_t) noexcept {
  return -EBADF;
}
std::int32_t no_sync(void *) noexcept {
  return 0;
}

}  // namespace

HostFile::HostFile(int fd, std::uint32_t flags) : context_(fd), file_{} {
  const bool read_only = (flags & VBD_FILE_READONLY) != 0;
  file_.size = sizeof file_;
  file_.flags = flags;
  file_.ctx = &context_;
  file_.read = host_read;
  file_.write = read_only ? refuse_write : host_write;
  file_.get_size = host_get_size;
  file_.truncate = read_only ? refuse_truncate : host_truncate;
  file_.allocate = read_only ? refuse_range : host_allocate;
  file_.punch = read_only ? refuse_range : host_punch;
  file_.map = host_map;
  // Nothing of a read-only image is ours to make durable, and an fdatasync would wait for its writer.
  file_.sync = read_only || (flags & VBD_FILE_NO_SYNC) != 0 ? no_sync : host_sync;
}

}  // namespace vbd::sys
