// SPDX-License-Identifier: MIT
#include "file.hpp"

#include <algorithm>

namespace vbdkit::qcow {

namespace {
constexpr uint64_t kZeroChunk = 65536;
constexpr char kZeros[kZeroChunk] = {};
}  // namespace

Status corrupt(vbd_error *err, const char *reason, const char *format, ...) noexcept {
  char text[240];
  va_list args;
  va_start(args, format);
  std::vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return fail(err, VBD_E_CORRUPT, reason, 0, "%s", text);
}

Status File::size(uint64_t *bytes, vbd_error *err) const noexcept {
  const int32_t error = file_->get_size(file_->ctx, bytes);
  return error == 0 ? VBD_OK : fail_errno(err, -error, "size of the file");
}

Status File::read(void *to, uint64_t length, uint64_t offset, const char *reason,
                  vbd_error *err) const noexcept {
  return read_exactly(file_, to, length, offset, reason, err);
}

Status File::read_padded(void *to, uint64_t length, uint64_t offset, vbd_error *err) const noexcept {
  auto *out = static_cast<char *>(to);
  while (length > 0) {
    const int64_t got = file_->read(file_->ctx, out, length, offset);
    if (got < 0) return fail_errno(err, static_cast<int>(-got), "read");
    if (got == 0) break;
    out += got;
    offset += static_cast<uint64_t>(got);
    length -= static_cast<uint64_t>(got);
  }
  std::memset(out, 0, length);
  return VBD_OK;
}

Status File::write(const void *from, uint64_t length, uint64_t offset, vbd_error *err) const noexcept {
  return length == 0 ? VBD_OK : write_all(file_, from, length, offset, err);
}

Status File::zero(uint64_t offset, uint64_t length, vbd_error *err) const noexcept {
  if (length == 0) return VBD_OK;
  const int32_t error = file_->punch(file_->ctx, offset, length);
  if (error == 0) return VBD_OK;
  if (error != -EOPNOTSUPP && error != -ENOSYS && error != -EINVAL) return fail_errno(err, -error, "punch");
  return write_zeros(offset, length, err);
}

Status File::write_zeros(uint64_t offset, uint64_t length, vbd_error *err) const noexcept {
  while (length > 0) {
    const uint64_t now = std::min(length, kZeroChunk);
    if (const Status status = write(kZeros, now, offset, err); status != VBD_OK) return status;
    offset += now;
    length -= now;
  }
  return VBD_OK;
}

Status File::truncate(uint64_t bytes, vbd_error *err) const noexcept {
  const int32_t error = file_->truncate(file_->ctx, bytes);
  return error == 0 ? VBD_OK : fail_errno(err, -error, "truncate");
}

Status File::allocate(uint64_t offset, uint64_t length, vbd_error *err) const noexcept {
  const int32_t error = file_->allocate(file_->ctx, offset, length);
  return error == 0 ? VBD_OK : fail_errno(err, -error, "allocate");
}

Status File::sync(vbd_error *err) const noexcept {
  const int32_t error = file_->sync(file_->ctx);
  return error == 0 ? VBD_OK : fail_errno(err, -error, "sync");
}

bool File::is_hole(uint64_t offset, uint64_t length) const noexcept {
  while (length > 0) {
    uint64_t alike = 0;
    uint32_t hole = 0;
    const int32_t error = file_->map(file_->ctx, offset, &alike, &hole);
    if (error == -ENXIO) return true;  // nothing is stored at or after the end
    if (error != 0 || hole == 0 || alike == 0) return false;
    if (alike >= length) return true;
    offset += alike;
    length -= alike;
  }
  return true;
}

}  // namespace vbdkit::qcow
