// SPDX-License-Identifier: MIT
// The image table: offsets of the guest are offsets of the file, so nothing needs a lock.
#include <algorithm>
#include <cinttypes>
#include <new>

#include "raw.hpp"

namespace raw {
namespace {

using vbdkit::fail;
using vbdkit::fail_errno;

struct Image {
  const vbd_file *file;
  uint64_t size;
  bool read_only;
};

constexpr uint64_t kUnit = 4096;  // a block of nearly every filesystem

const Image &of(void *image) {
  return *static_cast<const Image *>(image);
}

int32_t in_range(const Image &image, uint64_t offset, uint64_t length, vbd_error *err) noexcept {
  if (offset <= image.size && length <= image.size - offset) return VBD_OK;
  return fail(err, VBD_E_INVAL, "raw.range", 0,
              "%" PRIu64 " bytes at %" PRIu64 " lie beyond the image's %" PRIu64, length, offset, image.size);
}

int32_t for_writing(const Image &image, uint64_t offset, uint64_t length, vbd_error *err) noexcept {
  if (image.read_only)
    return fail(err, VBD_E_PERM, "raw.read_only", EBADF, "the image is open for reading only");
  return in_range(image, offset, length, err);
}

int32_t open(void *, const vbd_request *request, void **image, vbd_error *err) noexcept {
  const uint32_t known = VBD_MUST_READONLY | VBD_MUST_EXCLUSIVE;
  if (const int32_t status = vbdkit::check_must(request, known, err); status != VBD_OK) return status;
  uint64_t size = 0;
  if (const int32_t status = file_size(request->file, size, err); status != VBD_OK) return status;
  const bool read_only =
      (request->must & VBD_MUST_READONLY) != 0 || (request->file->flags & VBD_FILE_READONLY) != 0;
  auto *made = new (std::nothrow) Image{request->file, size, read_only};
  if (made == nullptr) return fail(err, VBD_E_INTERNAL, nullptr, ENOMEM, "out of memory");
  *image = made;
  return VBD_OK;
}

int32_t close(void *image, vbd_error *) noexcept {
  delete static_cast<Image *>(image);
  return VBD_OK;
}

int32_t geometry(void *image, vbd_sink *sink, vbd_error *) noexcept {
  vbdkit::Sink out(sink);
  out.number("virtual_size", of(image).size);
  out.number("unit", kUnit);
  return out.status();
}

/// How many bytes from `offset` are alike, at most `most`, and whether they are a hole.
int32_t piece(const vbd_file *file, uint64_t offset, uint64_t most, uint64_t &length, bool &hole,
              vbd_error *err) noexcept {
  uint32_t is_hole = 0;
  const int32_t error = file->map(file->ctx, offset, &length, &is_hole);
  if (error == -ENXIO)
    return fail(err, VBD_E_IO, "raw.file_shrank", ENXIO, "the file became shorter while in use");
  if (error != 0) return fail_errno(err, -error, "looking for holes");
  if (length == 0)
    return fail(err, VBD_E_INTERNAL, nullptr, 0, "the host's map of the file made no progress");
  length = std::min(length, most);
  hole = is_hole != 0;
  return VBD_OK;
}

int32_t map(void *image, uint64_t offset, uint64_t length, vbd_extent *extents, uint32_t cap, uint32_t *n,
            vbd_error *err) noexcept {
  *n = 0;
  if (const int32_t status = in_range(of(image), offset, length, err); status != VBD_OK) return status;
  for (const uint64_t end = offset + length; offset < end && *n < cap; ++*n) {
    uint64_t alike = 0;
    bool hole = false;
    const int32_t status = piece(of(image).file, offset, end - offset, alike, hole, err);
    if (status != VBD_OK) return status;
    const uint32_t kind = hole ? VBD_EXTENT_HOLE : VBD_EXTENT_DATA;
    extents[*n] = {offset, alike, hole ? 0 : offset, kind, 0, 0};
    offset += alike;
  }
  return VBD_OK;
}

int32_t read(void *image, void *buf, uint64_t length, uint64_t offset, vbd_error *err) noexcept {
  if (const int32_t status = in_range(of(image), offset, length, err); status != VBD_OK) return status;
  return vbdkit::read_exactly(of(image).file, buf, length, offset, "raw.file_shrank", err);
}

int32_t write(void *image, const void *buf, uint64_t length, uint64_t offset, vbd_error *err) noexcept {
  if (const int32_t status = for_writing(of(image), offset, length, err); status != VBD_OK) return status;
  return length == 0 ? VBD_OK : vbdkit::write_all(of(image).file, buf, length, offset, err);
}

/// Zeros that take their space: fresh blocks where the filesystem has them, else written.
int32_t zero_in_place(const vbd_file *file, uint64_t offset, uint64_t length, vbd_error *err) noexcept {
  if (length < kUnit) return write_zeros(file, offset, length, nullptr, err);
  const int32_t error = file->punch(file->ctx, offset, length);
  if (error != 0 && error != -EOPNOTSUPP) return fail_errno(err, -error, "zeroing");
  if (error == 0) {
    const int32_t again = file->allocate(file->ctx, offset, length);
    if (again == 0) return VBD_OK;
    if (again != -EOPNOTSUPP) return fail_errno(err, -again, "reserving the space of zeros");
  }
  return write_zeros(file, offset, length, nullptr, err);
}

int32_t zero_piece(const vbd_file *file, uint64_t offset, uint64_t length, bool hole, uint32_t flags,
                   vbd_error *err) noexcept {
  const bool keep = (flags & VBD_ZERO_KEEP_SPACE) != 0;
  if (hole && !keep) return VBD_OK;
  if (hole) {
    const int32_t error = file->allocate(file->ctx, offset, length);
    if (error == -EOPNOTSUPP) return write_zeros(file, offset, length, nullptr, err);
    return error == 0 ? VBD_OK : fail_errno(err, -error, "reserving the space of zeros");
  }
  if (keep || (flags & VBD_ZERO_MAY_PUNCH) == 0) return zero_in_place(file, offset, length, err);
  const int32_t error = file->punch(file->ctx, offset, length);
  if (error == -EOPNOTSUPP) return write_zeros(file, offset, length, nullptr, err);
  return error == 0 ? VBD_OK : fail_errno(err, -error, "zeroing");
}

int32_t zero(void *image, uint64_t offset, uint64_t length, uint32_t flags, vbd_error *err) noexcept {
  if (const int32_t status = for_writing(of(image), offset, length, err); status != VBD_OK) return status;
  for (const uint64_t end = offset + length; offset < end;) {
    uint64_t alike = 0;
    bool hole = false;
    int32_t status = piece(of(image).file, offset, end - offset, alike, hole, err);
    if (status == VBD_OK) status = zero_piece(of(image).file, offset, alike, hole, flags, err);
    if (status != VBD_OK) return status;
    offset += alike;
  }
  return VBD_OK;
}

int32_t flush(void *image, vbd_error *err) noexcept {
  if (of(image).read_only) return VBD_OK;
  const int32_t error = of(image).file->sync(of(image).file->ctx);
  return error == 0 ? VBD_OK : fail_errno(err, -error, "sync");
}

// The place of every byte is fixed, so there is nothing to set aside, and bytes put there are the guest's at
// once.
int32_t reserve(void *image, uint64_t offset, uint64_t length, vbd_extent *extents, uint32_t cap, uint32_t *n,
                vbd_error *err) noexcept {
  *n = 0;
  if (const int32_t status = for_writing(of(image), offset, length, err); status != VBD_OK) return status;
  if (length == 0 || cap == 0) return VBD_OK;
  extents[0] = {offset, length, offset, VBD_EXTENT_DATA, 0, 0};
  *n = 1;
  return VBD_OK;
}

int32_t commit(void *image, uint64_t offset, uint64_t length, vbd_error *err) noexcept {
  return for_writing(of(image), offset, length, err);
}

}  // namespace

const vbd_image_ops kImageOps = {
    sizeof(vbd_image_ops),
    VBD_IMAGE_PARALLEL_READ | VBD_IMAGE_PARALLEL_WRITE,
    open,
    close,
    geometry,
    map,
    read,
    write,
    zero,
    flush,
    reserve,
    commit,
};

}  // namespace raw
